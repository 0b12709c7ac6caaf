from __future__ import annotations

import contextlib
import io
import logging
import os
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
from chassis.process import Deployable, run
from chassis.server import Server
from chassis.telemetry import Telemetry
from tests.integration.chassis import toy
from tests.integration.chassis.commands import (
    Command,
    Ended,
    build,
    environment_of,
)
from tests.integration.chassis.toy import TOY, Stub, Toy, ToySettings
from tests.postgres import Clone


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """A server of toys in this process, and a client of it."""

    server: Server
    toy: Toy
    port: int
    channel: grpc.aio.Channel
    # Asks the server whether or not it says that it is ready, and shows no token.
    plain: grpc.aio.Channel
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
            plain = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
            await stack.enter_async_context(plain)
            return Running(
                server=server,
                toy=servicer,
                port=port,
                channel=channel,
                plain=plain,
                stub=Stub(channel),
                telemetry=made,
            )

        yield make


@pytest_asyncio.fixture
async def url(clone: Clone) -> str:
    return await clone("toy_neighbours", build)


@pytest.fixture
def command(logged: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs a command on a database: `command(url, "job", "succeed")`.

    In a test that is no coroutine: a command has its own loop, on the main thread.
    """

    def execute(
        url: str, *arguments: str, deployable: Deployable[ToySettings] = TOY, **fields: str
    ) -> Ended:
        for name in [each for each in os.environ if each.startswith("HEADGATE_")]:
            monkeypatch.delenv(name)
        for name, value in environment_of(url).items():
            monkeypatch.setenv(name, value)
        for name, value in fields.items():
            monkeypatch.setenv(f"HEADGATE_HEALTH_{name.upper()}", value)
        out, err = io.StringIO(), io.StringIO()
        with (
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as caught,
        ):
            run(deployable, arguments)
        return Ended(caught.value.code, out.getvalue(), err.getvalue())

    return execute
