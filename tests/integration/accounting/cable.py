"""A TCP cable between a process and Postgres that tests can cut at a chosen moment."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit

CHUNK = 65_536


class Cable:
    """Forwards bytes both ways."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        # Cuts when the server answers next: what it did is done, and nobody hears of it.
        self.cut_at_next_answer = False
        # Cuts every new connection at once.
        self.unplugged = False

    def cut(self) -> None:
        """Cuts what is connected."""
        for writer in self._open:
            writer.close()
        self._open.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Connects one client to the server."""
        if self.unplugged:
            writer.close()
            return
        far_reader, far_writer = await asyncio.open_connection(*self._target)
        self._open |= {writer, far_writer}
        for source, sink, answers in (
            (reader, far_writer, False),
            (far_reader, writer, True),
        ):
            task = asyncio.create_task(self._forward(source, sink, answers=answers))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Cuts all and waits until nothing is forwarded."""
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _forward(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        try:
            while chunk := await source.read(CHUNK):
                if answers and self.cut_at_next_answer:
                    self.cut_at_next_answer = False
                    self.cut()
                    return
                sink.write(chunk)
                await sink.drain()
        except ConnectionError:
            pass
        finally:
            sink.close()


@asynccontextmanager
async def plugged(url: str) -> AsyncIterator[tuple[Cable, str]]:
    """Yields a cable and the URL that goes through it."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    cable = Cable(parts.hostname, parts.port or 5432)
    server = await asyncio.start_server(cable.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    credentials = parts.netloc.rpartition("@")[0]
    yield cable, urlunsplit(parts._replace(netloc=f"{credentials}@127.0.0.1:{port}"))
    await cable.close()
    server.close()
    await server.wait_closed()
