"""The nemesis' proxy does to a connection what its name says, and mends it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Protocol

import pytest
import pytest_asyncio

from tests.guarantees.nemesis.proxy import BOTH_WAYS, Proxy, Trouble, Way

SHORT_SECONDS = 0.05
LONG_SECONDS = 10.0


@pytest_asyncio.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """In front of a server that sends back what it gets."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1024):
                writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    async with Proxy("link", target=f"{host}:{port}") as proxy:
        yield proxy
    server.close()


class Line:
    """A client's connection through the proxy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def say(self, data: bytes) -> None:
        self._writer.write(data)

    async def hear(self, *, seconds: float = LONG_SECONDS) -> bytes:
        async with asyncio.timeout(seconds):
            return await self._reader.read(1024)

    async def hears_nothing(self) -> bool:
        try:
            await self.hear(seconds=SHORT_SECONDS)
        except TimeoutError:
            return True
        return False

    async def is_reset(self) -> bool:
        try:
            await self.hear()
        except ConnectionError:
            return True
        return False

    def hang_up(self) -> None:
        self._writer.write_eof()

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


class Dial(Protocol):
    async def __call__(self) -> Line:
        """Opens a connection, which is closed after the test."""


@pytest_asyncio.fixture
async def dial(proxy: Proxy) -> AsyncIterator[Dial]:
    async with contextlib.AsyncExitStack() as stack:

        async def open_one() -> Line:
            host, _, port = proxy.address.partition(":")
            line = Line(*await asyncio.open_connection(host, int(port)))
            stack.push_async_callback(line.close)
            return line

        yield open_one


async def test_what_is_said_is_heard(proxy: Proxy, dial: Dial) -> None:
    line = await dial()
    line.say(b"hello")
    assert await line.hear() == b"hello"
    line.hang_up()
    assert await line.hear() == b""
    assert proxy.byte_count == 10


@pytest.mark.parametrize("blocked", [BOTH_WAYS, {Way.THERE}, {Way.BACK}])
async def test_what_is_said_over_a_cut_line_is_heard_when_it_is_mended(
    proxy: Proxy, dial: Dial, blocked: set[Way]
) -> None:
    line = await dial()
    line.say(b"before")
    assert await line.hear() == b"before"
    proxy.impair(Trouble(blocked=frozenset(blocked)))
    line.say(b"meanwhile")
    assert await line.hears_nothing()
    # One way lets through what the other one holds back.
    assert proxy.byte_count == 12 + (9 if blocked == {Way.BACK} else 0)
    proxy.heal()
    assert await line.hear() == b"meanwhile"


async def test_a_line_ends_in_mid_message(proxy: Proxy, dial: Dial) -> None:
    line = await dial()
    proxy.impair(Trouble(byte_count_max=7))
    line.say(b"hello")
    # Five bytes there, two back.
    assert await line.hear() == b"he"
    assert await line.is_reset()
    proxy.heal()
    again = await dial()
    again.say(b"hello")
    assert await again.hear() == b"hello"


async def test_a_slow_line_takes_its_time(proxy: Proxy, dial: Dial) -> None:
    line = await dial()
    proxy.impair(Trouble(delay_seconds=SHORT_SECONDS, jitter_seconds=0.01))
    start = asyncio.get_running_loop().time()
    line.say(b"hello")
    assert await line.hear() == b"hello"
    assert asyncio.get_running_loop().time() - start >= 2 * SHORT_SECONDS


async def test_the_end_of_a_line_is_told_late(proxy: Proxy, dial: Dial) -> None:
    line = await dial()
    line.say(b"hello")
    assert await line.hear() == b"hello"
    proxy.impair(Trouble(close_delay_seconds=4 * SHORT_SECONDS))
    line.hang_up()
    assert await line.hears_nothing()
    assert await line.hear() == b""


async def test_a_reset_ends_every_line(proxy: Proxy, dial: Dial) -> None:
    lines = [await dial() for _ in range(3)]
    for line in lines:
        line.say(b"hello")
        assert await line.hear() == b"hello"
    proxy.reset()
    for line in lines:
        assert await line.is_reset()
