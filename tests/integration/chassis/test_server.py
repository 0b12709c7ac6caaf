"""One server of toys, called over a real connection."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.wrappers_pb2 import Int64Value, StringValue

from chassis import handlers
from chassis.errors import FieldViolation, InvalidArgument, Overloaded
from chassis.statuses import DOMAIN
from tests.integration.chassis import toy
from tests.integration.chassis.calls import (
    OK,
    READINESS,
    SERVING,
    code_of,
    details_of,
    failure_of,
    health_of,
)
from tests.integration.chassis.conftest import Start
from tests.integration.chassis.toy import SERVICE, Stub


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
    stub = Stub(running.plain)
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
    await running.toy.until_waiting()
    error = await failure_of(running.stub.Echo(StringValue(value="x")))
    # As when many are being refused at this moment.
    running.server._traffic.rpc_count += 10
    probe = await health_of(running).Check(READINESS)
    running.server._traffic.rpc_count -= 10
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
    await running.toy.until_waiting()
    call.cancel()

    # Its place is free again as soon as the server has noticed.
    async with asyncio.timeout(5):
        while await code_of(running.stub.Echo(StringValue(value="x"))) is not OK:
            continue
