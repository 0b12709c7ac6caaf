"""How a server is put together and how it ends."""

from __future__ import annotations

import asyncio
import io
import time
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from chassis.config import ConfigError
from chassis.errors import Draining
from chassis.server import Server, ServiceTokenAuthenticator
from chassis.telemetry import setup
from tests.integration.chassis import toy
from tests.integration.chassis.calls import (
    NOT_SERVING,
    READINESS,
    SERVING,
    TOKEN,
    details_of,
    failure_of,
    hang,
    health_of,
)
from tests.integration.chassis.conftest import Start
from tests.integration.chassis.toy import Stub, Toy


async def test_a_drain_lets_calls_finish_ends_streams_and_runs_the_callbacks_last(
    start: Start,
) -> None:
    running = await start()
    order: list[str] = []

    async def note() -> None:
        order.append("callback")

    running.server.on_drain(note)
    running.toy.failures["Count"] = AssertionError("the drain ends it first")
    stream = running.stub.Count(Int64Value(value=-1))
    await stream.read()
    running.toy.waiting.clear()
    call = running.stub.Wait(StringValue())
    await running.toy.until_waiting()
    draining = asyncio.create_task(running.server.drain())
    error = await failure_of(stream.read())
    order.append("stream ended")
    order.append("call released")
    running.toy.go.set()
    await call
    await draining

    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert details_of(error)["ErrorInfo"].reason == Draining().reason
    assert order == ["stream ended", "call released", "callback"]


async def test_while_draining_the_probe_says_not_ready_before_calls_are_refused(
    start: Start,
) -> None:
    running = await start(propagation_seconds=0.3)
    stub = Stub(running.plain)
    watch = health_of(running).Watch(READINESS)
    assert (await watch.read()).status == SERVING
    draining = asyncio.create_task(running.server.drain())

    assert (await watch.read()).status == NOT_SERVING
    assert (await stub.Echo(StringValue(value="x"), metadata=TOKEN)).value == "x"
    await draining
    assert (await failure_of(stub.Echo(StringValue(), metadata=TOKEN))).code() is (
        grpc.StatusCode.UNAVAILABLE
    )


async def test_a_call_that_outlives_the_drain_is_cut_off(start: Start) -> None:
    running = await start(drain_seconds=0.05)
    call = running.stub.Wait(StringValue())
    await running.toy.until_waiting()
    started = time.monotonic()
    await running.server.drain()

    assert (await failure_of(call)).code() in {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
    }
    assert time.monotonic() - started < 5


async def test_wiring_mistakes_are_refused(start: Start, logged: io.StringIO) -> None:
    settings = toy.settings()
    with setup(settings, "toy") as telemetry:
        server = Server(settings, telemetry)
        token = ServiceTokenAuthenticator(settings.service_token)
        with pytest.raises(ValueError, match="is not what"):
            server.add(toy.add_to_server, Toy(), service_name="x", authenticate=token)
        toy.add_toy(server, Toy())
        with pytest.raises(ValueError, match="added twice"):
            toy.add_toy(server, Toy())
        server.add_readiness("once", hang)
        with pytest.raises(ValueError, match="added twice"):
            server.add_readiness("once", hang)
        # Nothing to drain yet.
        await server.drain()

    running = await start()
    with pytest.raises(RuntimeError, match="before the server starts"):
        toy.add_toy(running.server, Toy())
    with pytest.raises(RuntimeError, match="started already"):
        await running.server.start()
    with pytest.raises(ConfigError, match="cannot listen on"):
        await start(listen_address=f"127.0.0.1:{running.port}")


async def test_streams_of_requests_are_refused_at_registration(logged: io.StringIO) -> None:
    handler: Any = grpc.stream_unary_rpc_method_handler(lambda requests, context: None)

    def add(_: Any, server: Any) -> None:
        server.add_registered_method_handlers("x", {"Upload": handler})

    settings = toy.settings()
    with setup(settings, "toy") as telemetry, pytest.raises(TypeError, match="x/Upload"):
        Server(settings, telemetry).add(
            add,
            None,
            service_name="x",
            authenticate=ServiceTokenAuthenticator(toy.TOKEN),
        )


async def test_serve_starts_and_drains_when_it_is_told_to(logged: io.StringIO) -> None:
    settings = toy.settings()
    with setup(settings, "toy") as telemetry:
        server = Server(settings, telemetry)
        stop = asyncio.Event()
        ended: list[str] = []

        async def note() -> None:
            ended.append("drained")

        server.on_drain(note)
        stop.set()
        await server.serve(stop)

    assert ended == ["drained"]
