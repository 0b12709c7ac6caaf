"""A bare fan-out: what is sent to it goes to every stream that is open."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import grpc


class FanOut:
    """Keeps who listens, and sends them what comes."""

    def __init__(self) -> None:
        self._moved = asyncio.Event()
        self._payload = b""

    async def watch(self, _: bytes, context: Any) -> AsyncIterator[bytes]:
        """Sends something at once, then whatever is fired, until nothing is."""
        yield b"x"
        await self._moved.wait()
        while self._payload:
            yield self._payload
            await self._moved.wait()

    async def fire(self, payload: bytes, context: Any) -> bytes:
        """Sends a payload to every stream."""
        self._payload = payload
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
        return b""


async def _serve() -> None:
    fan_out = FanOut()
    server = grpc.aio.server()
    handlers: dict[str, Any] = {
        "Watch": grpc.unary_stream_rpc_method_handler(fan_out.watch),
        "Fire": grpc.unary_unary_rpc_method_handler(fan_out.fire),
    }
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("bench.FanOut", handlers),)
    )
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


if __name__ == "__main__":
    sys.stdin.readline()
    asyncio.run(_serve())
