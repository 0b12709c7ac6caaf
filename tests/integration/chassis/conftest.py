from __future__ import annotations

import io
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, redirect_stderr
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
import pytest_asyncio
import structlog

from chassis import telemetry
from chassis.peers import open_channel
from chassis.server import Server
from chassis.telemetry import Telemetry
from tests.integration.chassis import toy
from tests.integration.chassis.toy import Stub, Toy


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server of toys in this process, and a client of it."""

    server: Server
    toy: Toy
    port: int
    channel: grpc.aio.Channel
    stub: Stub
    telemetry: Telemetry


Start = Callable[..., Awaitable[Running]]


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """The log of `start`ed servers; undoes what `telemetry.setup` does to the whole process."""
    handlers, level = list(logging.root.handlers), logging.root.level
    yield io.StringIO()
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


@pytest_asyncio.fixture
async def start(logged: io.StringIO) -> AsyncIterator[Start]:
    """Starts servers of toys: `await start(max_concurrent_rpcs=1)`; they end with the test."""
    async with AsyncExitStack() as stack:

        async def make(
            *,
            ready: Callable[[], Awaitable[None]] | None = None,
            exporter: Any = None,
            **fields: Any,
        ) -> Running:
            settings = toy.settings(**fields)
            with redirect_stderr(logged):
                made = telemetry.setup(settings, "toy", span_exporter=exporter)
            stack.enter_context(made)
            server, servicer = Server(settings, made), Toy()
            toy.add_toy(server, servicer)
            if ready is not None:
                server.add_readiness("toy", ready)
            port = await server.start()
            stack.push_async_callback(server.drain)
            stack.callback(servicer.go.set)
            channel = await stack.enter_async_context(
                open_channel((f"127.0.0.1:{port}",), settings)
            )
            return Running(
                server=server,
                toy=servicer,
                port=port,
                channel=channel,
                stub=Stub(channel),
                telemetry=made,
            )

        yield make
