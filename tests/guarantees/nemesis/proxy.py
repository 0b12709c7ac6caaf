"""A TCP proxy on loopback that can be made slow, deaf or mute, or end in mid-message."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import random
import socket
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

HOST: Final = "127.0.0.1"
CHUNK_BYTES: Final = 64 * 1024


class Way(enum.Enum):
    """Which way bytes travel."""

    # From whoever connected.
    THERE = "there"
    # From whom it connected to.
    BACK = "back"


BOTH_WAYS: Final = frozenset(Way)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """What is wrong with a link. Nothing, by default."""

    delay_seconds: float = 0.0
    jitter_seconds: float = 0.0
    # Bytes on these ways wait, as on a cable that is cut and later mended.
    blocked: frozenset[Way] = frozenset()
    # Every connection is reset after so many more bytes, in the middle of whatever they mean.
    byte_count_max: int | None = None
    # How long the end of a connection is kept from the other side.
    close_delay_seconds: float = 0.0


NONE: Final = Trouble()


class Proxy:
    """One link: listens on a port of its own and passes on to the target."""

    def __init__(self, name: str, *, target: str = "", seed: int = 0) -> None:
        self.name = name
        # host:port; may move, for connections to come.
        self.target = target
        self.byte_count = 0
        self._chance = random.Random(f"{name}/{seed}")
        self._trouble = NONE
        self._changed = asyncio.Event()
        self._bytes_left: int | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def address(self) -> str:
        """Where it listens."""
        assert self._server is not None
        return f"{HOST}:{self._server.sockets[0].getsockname()[1]}"

    @property
    def trouble(self) -> Trouble:
        """What is wrong now."""
        return self._trouble

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, HOST, 0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def impair(self, trouble: Trouble) -> None:
        """Makes that wrong from now on, with connections that are open too."""
        self._trouble = trouble
        self._bytes_left = trouble.byte_count_max
        # Whoever waits looks again.
        self._changed.set()
        self._changed = asyncio.Event()

    def heal(self) -> None:
        """Lets everything pass again, what has waited first."""
        self.impair(NONE)

    def reset(self) -> None:
        """Ends every open connection without a word."""
        for writer in list(self._writers):
            _reset(writer)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers = [writer]
        try:
            # Whoever connects over a cut cable hears nothing until it is mended.
            await self._wait_until_open(Way.THERE)
            host, _, port = self.target.rpartition(":")
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
            writers.append(far_writer)
            self._writers.update(writers)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pump(reader, far_writer, Way.THERE))
                group.create_task(self._pump(far_reader, writer, Way.BACK))
        except* OSError:
            await asyncio.sleep(self._trouble.close_delay_seconds)
            for each in writers:
                _reset(each)
        finally:
            self._writers.difference_update(writers)
            for each in writers:
                each.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: Way
    ) -> None:
        while data := await reader.read(CHUNK_BYTES):
            await asyncio.sleep(self._delay())
            await self._wait_until_open(way)
            data = self._cut(data)
            self.byte_count += len(data)
            writer.write(data)
            await writer.drain()
            if self._bytes_left == 0:
                raise ConnectionResetError
        await asyncio.sleep(self._trouble.close_delay_seconds)
        await self._wait_until_open(way)
        with contextlib.suppress(OSError):
            writer.write_eof()

    def _cut(self, data: bytes) -> bytes:
        if self._bytes_left is None:
            return data
        data = data[: self._bytes_left]
        self._bytes_left -= len(data)
        return data

    def _delay(self) -> float:
        trouble = self._trouble
        return trouble.delay_seconds + self._chance.random() * trouble.jitter_seconds

    async def _wait_until_open(self, way: Way) -> None:
        while way in self._trouble.blocked:
            await self._changed.wait()


def _reset(writer: asyncio.StreamWriter) -> None:
    # Closed with no time to linger, a socket tells the other side of a reset, not of an end.
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.fileno() >= 0:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
