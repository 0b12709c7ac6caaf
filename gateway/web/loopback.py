"""How the HTTP face reaches the RPCs of its own process: a socket that nobody else can open."""

from __future__ import annotations

import tempfile
from pathlib import Path

import grpc

from chassis.server import MESSAGE_BYTES_MAX, Server


class Loopback:
    """A channel to a server of this process, in plain text whatever it speaks elsewhere."""

    def __init__(self, server: Server) -> None:
        """Makes the server listen at the socket too; before it starts."""
        # The folder is its owner's alone, and the path short enough for a socket.
        self._folder = tempfile.TemporaryDirectory(prefix="headgate-")
        server.local_path = Path(self._folder.name) / "gateway"
        self.channel = grpc.aio.insecure_channel(
            f"unix:{server.local_path}",
            options=[
                ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
                ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
                ("grpc.enable_http_proxy", 0),
            ],
        )

    async def close(self) -> None:
        """Closes the channel and removes the socket."""
        await self.channel.close()
        self._folder.cleanup()
