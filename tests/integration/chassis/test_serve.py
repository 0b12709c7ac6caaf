"""The command `serve`, run within this process: how it starts, and all the ways it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from chassis.config import ConfigError
from chassis.process import Deployable, Process
from tests.integration.chassis.commands import Command
from tests.integration.chassis.toy import TOY, ToySettings


def serving(
    serve: Callable[[ToySettings, Process], contextlib.AbstractAsyncContextManager[None]],
) -> Deployable[ToySettings]:
    return replace(TOY, serve=serve)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_server_stops_when_its_background_work_fails(command: Command, url: str) -> None:
    order: list[str] = []

    async def fail() -> None:
        raise ConnectionError("cut")

    async def end() -> None:
        order.append("ended by itself")

    async def go_on() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            order.append("cancelled")

    @asynccontextmanager
    async def serve(settings: ToySettings, process: Process) -> AsyncIterator[None]:
        async def drained() -> None:
            order.append("drained")

        process.server.on_drain(drained)
        for name, work in (("fail", fail), ("end", end), ("go_on", go_on)):
            process.spawn(name, work())
        yield
        order.append("cleaned up")

    ended = command(url, "serve", deployable=serving(serve), propagation_seconds="0")

    assert ended.code == 1
    assert json.loads(ended.out)["event"] == "listening"
    assert ended.events == ["background_work_failed", "draining", "drained"]
    assert order == ["ended by itself", "drained", "cancelled", "cleaned up"]


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0"])
def test_a_server_drains_at_a_signal(command: Command, url: str, listen: str) -> None:
    @asynccontextmanager
    async def serve(settings: ToySettings, process: Process) -> AsyncIterator[None]:
        async def ready() -> None:
            asyncio.get_running_loop().call_later(0.05, interrupt)

        process.server.add_readiness("started", ready)
        yield

    ended = command(
        url,
        "serve",
        deployable=serving(serve),
        propagation_seconds="0",
        listen_address=listen,
    )

    assert ended.code == 0
    assert json.loads(ended.out)["address"].startswith(listen.removesuffix("0"))
    assert ended.events == ["draining", "drained"]


def test_a_signal_before_it_serves_ends_it_and_cleans_up(command: Command, url: str) -> None:
    cleaned: list[bool] = []

    @asynccontextmanager
    async def serve(settings: ToySettings, process: Process) -> AsyncIterator[None]:
        try:
            interrupt()
            await asyncio.Event().wait()
            yield
        finally:
            cleaned.append(True)

    ended = command(url, "serve", deployable=serving(serve))

    assert (ended.code, ended.out, ended.err) == (0, "", "")
    assert cleaned == [True]


def test_a_wrong_setting_found_late_is_one_line(command: Command, url: str) -> None:
    @asynccontextmanager
    async def serve(settings: ToySettings, process: Process) -> AsyncIterator[None]:
        raise ConfigError("HEADGATE_HEALTH_LISTEN_ADDRESS: choose another")
        yield

    ended = command(url, "serve", deployable=serving(serve))

    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "toy: HEADGATE_HEALTH_LISTEN_ADDRESS: choose another\n"


def test_a_server_that_cannot_be_built_says_why(command: Command, url: str) -> None:
    @asynccontextmanager
    async def serve(settings: ToySettings, process: Process) -> AsyncIterator[None]:
        raise RuntimeError("a bug")
        yield

    ended = command(url, "serve", deployable=serving(serve))

    assert ended.code == 1
    assert ended.events == ["crashed"]
