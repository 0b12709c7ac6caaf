"""One server of toys, called over a real connection."""

from __future__ import annotations

import asyncio
import io
import time
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.wrappers_pb2 import Int64Value, StringValue
from google.rpc import error_details_pb2  # type: ignore[import-untyped]
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_status import rpc_status

from chassis import handlers, probes
from chassis.config import ConfigError
from chassis.errors import Draining, FieldViolation, InvalidArgument, Overloaded
from chassis.server import Server, ServiceTokenAuthenticator
from chassis.statuses import DOMAIN
from chassis.telemetry import setup
from tests.integration.chassis import toy
from tests.integration.chassis.conftest import Running, Start
from tests.integration.chassis.toy import SERVICE, Stub, Toy

READINESS = health_pb2.HealthCheckRequest(service="readiness")
LIVENESS = health_pb2.HealthCheckRequest(service="liveness")
OK = grpc.StatusCode.OK
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def failure_of(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def code_of(call: Any) -> grpc.StatusCode:
    code: grpc.StatusCode = await call.code()
    return code


def details_of(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    """The details of an error by the names of their types."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None
    found = {}
    for packed in status.details:
        name = packed.TypeName().rpartition(".")[2]
        detail = getattr(error_details_pb2, name)()
        packed.Unpack(detail)
        found[name] = detail
    return found


def health_of(running: Running) -> Any:
    return health_pb2_grpc.HealthStub(running.channel)


async def hang() -> None:
    await asyncio.Event().wait()


async def test_an_rpc_is_answered(start: Start) -> None:
    running = await start()

    assert (await running.stub.Echo(StringValue(value="hello"))).value == "hello"


async def test_a_stream_is_answered(start: Start) -> None:
    running = await start()
    numbers = [message.value async for message in running.stub.Count(Int64Value(value=3))]

    assert numbers == [0, 1, 2]


async def test_a_failure_carries_its_code_reason_and_fields(start: Start) -> None:
    running = await start()
    running.toy.failures["x"] = InvalidArgument([FieldViolation("a.b", "send one")])
    error = await failure_of(running.stub.Echo(StringValue(value="x")))
    details = details_of(error)

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error.details() == "a.b: send one"
    assert details["ErrorInfo"].domain == DOMAIN
    assert details["ErrorInfo"].reason == "INVALID_ARGUMENT"
    assert [(v.field, v.description) for v in details["BadRequest"].field_violations] == [
        ("a.b", "send one")
    ]


async def test_an_unknown_exception_leaks_nothing_and_is_logged(
    start: Start, logged: io.StringIO
) -> None:
    running = await start()
    running.toy.failures["x"] = RuntimeError("password=hunter2 at 10.0.0.1")
    error = await failure_of(running.stub.Echo(StringValue(value="x")))
    log = logged.getvalue()

    assert error.code() is grpc.StatusCode.INTERNAL
    assert "hunter2" not in str(error)
    assert details_of(error)["ErrorInfo"].reason == "INTERNAL"
    assert '"event": "internal_error"' in log
    assert "hunter2" in log


async def test_a_stream_fails_like_any_other_rpc(start: Start) -> None:
    running = await start()
    running.toy.failures["Count"] = Overloaded(2.5)
    stream = running.stub.Count(Int64Value(value=-1))
    assert (await stream.read()).value == 0
    running.toy.go.set()
    error = await failure_of(stream.read())

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details_of(error)["RetryInfo"].retry_delay.ToMilliseconds() == 2500


async def test_a_message_that_is_not_one_is_refused(start: Start) -> None:
    running = await start()
    broken: Any = running.channel.unary_unary(f"/{SERVICE}/Echo")
    # A text that is not UTF-8.
    error = await failure_of(broken(b"\x0a\x01\xff"))

    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "UTF-8" in (error.details() or "")


async def test_the_principal_and_the_deadline_reach_the_method(start: Start) -> None:
    running = await start()
    given = (await running.stub.Describe(Empty(), timeout=60)).value
    default = (await running.stub.Describe(Empty())).value

    assert given.split()[:2] == ["service", "60"]
    assert default.split()[:2] == ["service", "10"]
    assert handlers.deadline() is None
    with pytest.raises(LookupError):
        handlers.principal()


@pytest.mark.parametrize(
    "metadata",
    [(), (("authorization", "Bearer wrong"),), (("authorization", toy.TOKEN),)],
    ids=["none", "wrong", "no bearer"],
)
async def test_without_the_token_nobody_is_served(
    start: Start, metadata: tuple[tuple[str, str], ...]
) -> None:
    running = await start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{running.port}") as channel:
        stub = Stub(channel)
        unary = await failure_of(stub.Echo(StringValue(value="x"), metadata=metadata))
        stream = await failure_of(stub.Count(Int64Value(value=1), metadata=metadata).read())

    for error in (unary, stream):
        assert error.code() is grpc.StatusCode.UNAUTHENTICATED
        assert details_of(error)["ErrorInfo"].reason == "UNAUTHENTICATED"
        assert toy.TOKEN not in str(error)


async def test_methods_nobody_serves_say_so(start: Start) -> None:
    running = await start()
    planned = await failure_of(running.stub.Later(Empty()))
    nothing: Any = running.channel.unary_unary(f"/{SERVICE}/Nothing")
    unknown = await failure_of(nothing(b""))

    assert planned.code() is grpc.StatusCode.UNIMPLEMENTED
    assert details_of(planned)["ErrorInfo"].metadata["method"] == f"/{SERVICE}/Later"
    assert unknown.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_deadline_that_nothing_fits_in_is_refused_at_once(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await start()
    # The client's own limit would be faster than any deadline that is really too short.
    monkeypatch.setattr(handlers, "DEADLINE_SECONDS_MIN", 100.0)
    error = await failure_of(running.stub.Wait(StringValue(), timeout=50))

    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert details_of(error)["ErrorInfo"].reason == "DEADLINE_TOO_SHORT"
    assert not running.toy.waiting.is_set()


async def test_an_rpc_without_a_deadline_gets_the_servers(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = await start()
    monkeypatch.setattr(handlers, "DEFAULT_DEADLINE_SECONDS", 0.05)
    error = await failure_of(running.stub.Wait(StringValue()))

    assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert details_of(error)["ErrorInfo"].metadata["limit_seconds"] == "0.05"


async def test_a_timeout_of_the_methods_own_is_not_the_clients_deadline(start: Start) -> None:
    running = await start()
    running.toy.failures |= {"x": TimeoutError(), "Count": TimeoutError()}
    running.toy.go.set()
    unary = await failure_of(running.stub.Echo(StringValue(value="x")))
    stream = running.stub.Count(Int64Value(value=-1))
    await stream.read()

    assert unary.code() is grpc.StatusCode.UNAVAILABLE
    assert (await failure_of(stream.read())).code() is grpc.StatusCode.UNAVAILABLE


async def test_more_rpcs_than_the_most_are_shed_but_probes_are_not(start: Start) -> None:
    running = await start(max_concurrent_rpcs=1)
    first = running.stub.Wait(StringValue())
    await running.toy.waiting.wait()
    error = await failure_of(running.stub.Echo(StringValue(value="x")))
    probe = await health_of(running).Check(READINESS)
    running.toy.go.set()
    await first

    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details_of(error)["ErrorInfo"].reason == "OVERLOADED"
    assert details_of(error)["RetryInfo"].retry_delay.ToMilliseconds() > 0
    assert probe.status == SERVING
    assert (await running.stub.Echo(StringValue(value="x"))).value == "x"


async def test_a_clients_cancellation_ends_the_method(start: Start) -> None:
    running = await start(max_concurrent_rpcs=1)
    call = running.stub.Wait(StringValue())
    await running.toy.waiting.wait()
    call.cancel()

    # Its place is free again as soon as the server has noticed.
    async with asyncio.timeout(5):
        while await code_of(running.stub.Echo(StringValue(value="x"))) is not OK:
            continue


async def test_readiness_follows_the_checks_and_liveness_does_not(
    start: Start, monkeypatch: pytest.MonkeyPatch, logged: io.StringIO
) -> None:
    monkeypatch.setattr(probes, "CHECK_INTERVAL_SECONDS", 0.01)
    broken = True

    async def check() -> None:
        if broken:
            raise ConnectionError("no database")

    running = await start(ready=check)
    health = health_of(running)
    watch = health.Watch(READINESS)
    at_first = (await watch.read()).status
    liveness = (await health.Check(LIVENESS)).status
    broken = False
    later = (await watch.read()).status
    watch.cancel()

    assert (at_first, liveness, later) == (NOT_SERVING, SERVING, SERVING)
    assert (await health.Check(health_pb2.HealthCheckRequest())).status == SERVING
    log = logged.getvalue()
    assert log.count('"event": "not_ready"') == 1
    assert log.count('"event": "ready_again"') == 1


async def test_a_check_that_hangs_is_a_failed_one(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "CHECK_TIMEOUT_SECONDS", 0.01)
    running = await start(ready=hang)

    assert (await health_of(running).Check(READINESS)).status == NOT_SERVING


async def test_probes_of_unknown_services_are_answered_as_the_protocol_says(start: Start) -> None:
    health = health_of(await start())
    unknown = health_pb2.HealthCheckRequest(service="nobody")
    error = await failure_of(health.Check(unknown))
    watch = health.Watch(unknown)
    first = await watch.read()
    watch.cancel()

    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert first.status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


async def test_reflection_lists_the_services(start: Start) -> None:
    running = await start()
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    open_stub: Any = reflection_pb2_grpc.ServerReflectionStub
    stub = open_stub(running.channel)
    stream = stub.ServerReflectionInfo(iter([request]))
    listed = (await stream.read()).list_services_response.service
    stream.cancel()

    assert {SERVICE, "grpc.health.v1.Health"} <= {service.name for service in listed}


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
    await running.toy.waiting.wait()
    draining = asyncio.create_task(running.server.drain())
    error = await failure_of(stream.read())
    order.append("stream ended")
    running.toy.go.set()
    await call
    order.append("call ended")
    await draining

    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert details_of(error)["ErrorInfo"].reason == Draining().reason
    assert order == ["stream ended", "call ended", "callback"]


async def test_while_draining_the_probe_says_not_ready_before_calls_are_refused(
    start: Start,
) -> None:
    running = await start(propagation_seconds=0.3)
    watch = health_of(running).Watch(READINESS)
    assert (await watch.read()).status == SERVING
    draining = asyncio.create_task(running.server.drain())

    assert (await watch.read()).status == NOT_SERVING
    assert (await running.stub.Echo(StringValue(value="x"))).value == "x"
    await draining
    assert (await failure_of(running.stub.Echo(StringValue()))).code() is (
        grpc.StatusCode.UNAVAILABLE
    )


async def test_a_call_that_outlives_the_drain_is_cut_off(start: Start) -> None:
    running = await start(drain_seconds=0.05)
    call = running.stub.Wait(StringValue())
    await running.toy.waiting.wait()
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
