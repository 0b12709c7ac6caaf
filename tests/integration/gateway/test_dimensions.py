"""What a caller says of a call reaches limits, reports and running calls."""

from __future__ import annotations

from typing import Any

from google.protobuf.duration_pb2 import Duration

from headgate.api.common.v1 import denial_pb2, limit_pb2
from headgate.api.gateway.v1 import admin_pb2, limit_admin_pb2
from headgate.api.gateway.v1 import gateway_pb2 as pb
from headgate.api.gateway.v1.limit_admin_pb2_grpc import LimitAdminServiceStub
from tests.integration.gateway.system import (
    ADMIN_KEY,
    Keyed,
    System,
    kill,
    new_id,
    refusal,
)
from tests.integration.gateway.traffic import admit, deny, make_call, report

TOTAL = limit_pb2.TotalWindow()


async def put(system: System, limit_id: str, **fields: Any) -> None:
    defaults: dict[str, Any] = {"metric": limit_pb2.METRIC_CALLS, "total": TOTAL, "cap": 1}
    limit = limit_pb2.Limit(limit_id=limit_id, **defaults | fields)
    await system.staff().PutLimit(admin_pb2.PutLimitRequest(limit=limit))


def questions(system: System) -> Keyed:
    return Keyed(LimitAdminServiceStub(system.channel()), ADMIN_KEY)


async def test_limits_tell_calls_apart_by_all_that_their_caller_says(system: System) -> None:
    await put(system, "user", scope={"org": "acme", "user": "ann"})
    await put(system, "caller", scope={"caller": "ip:192.0.2.7"})
    await put(system, "label", scope={"label.ticket": "*"})
    backend = system.backend()
    for fields in (
        {"user": "ann"},
        {"ip": "192.0.2.7"},
        {"labels": {"ticket": "T-1"}},
    ):
        await admit(backend, make_call(**fields))
        denial = await deny(backend, make_call(**fields))
        assert denial.reason == denial_pb2.DENIAL_REASON_RATE_EXCEEDED
        assert denial.retry_kind == denial_pb2.RETRY_KIND_UNKNOWN
    await admit(backend, make_call(user="bob"))
    await admit(backend, make_call(labels={"ticket": "T-2"}))


async def test_a_key_has_limits_of_its_own(system: System) -> None:
    await put(system, "keys", scope={"api_key": "*"}, cap=2)
    for _ in range(2):
        await admit(system.backend(), make_call())
    denial = await deny(system.backend(), make_call())
    assert list(denial.violations[0].scope) == ["api_key"]


async def test_priorities_and_tokens_reach_admission(system: System) -> None:
    shares = limit_pb2.PriorityShares(default_percent=50, sheddable_percent=0)
    await put(system, "tokens", metric=limit_pb2.METRIC_TOKENS, cap=1_000, shares=shares)
    call: dict[str, Any] = {"input_token_count": 300, "max_output_token_count": 200}
    shed = await deny(system.backend(), make_call(priority=limit_pb2.PRIORITY_SHEDDABLE, **call))
    assert shed.violations[0].usable_cap == 0
    admission = await admit(system.backend(), make_call(**call))
    assert admission.held_token_count == 500
    assert admission.limits_version > 0
    await deny(system.backend(), make_call(**call))
    await admit(system.backend(), make_call(priority=limit_pb2.PRIORITY_CRITICAL, **call))
    # What was reported is more than what was held, and is counted all the same.
    await system.backend().CompleteCall(report(admission))
    counters = await system.staff().ListCounters(admin_pb2.ListCountersRequest(org=""))
    (tokens,) = [each for each in counters.counters if each.limit_id == "tokens"]
    assert tokens.held == 500
    assert (tokens.settled, tokens.overrun) == (950, 450)


async def test_wrong_dimensions_are_named_and_change_nothing(system: System) -> None:
    wrong = make_call(
        team="a b", user="x" * 129, ip="localhost", labels={"Bad Key": "x"}, priority=9
    )
    answer = await refusal(system.backend().AdmitCall(wrong))
    assert answer.reason == "INVALID_ARGUMENT"
    assert set(answer.fields) == {"team", "user", "ip", "labels", "priority"}


async def test_the_same_id_with_another_user_is_another_call(system: System) -> None:
    call = make_call(new_id(), user="ann")
    await admit(system.backend(), call)
    assert (await admit(system.backend(), call)).replayed
    call.user = "bob"
    assert (await refusal(system.backend().AdmitCall(call))).reason == "ID_REUSED"


async def test_a_running_call_is_extended_and_told_to_stop(system: System) -> None:
    admission = await admit(system.backend(), make_call(user="ann"))
    hour = Duration(seconds=3_600)
    extend = pb.ExtendCallRequest(permit=admission.permit, hold_duration=hour)
    longer = await system.backend().ExtendCall(extend)
    assert longer.expire_time.seconds > admission.expire_time.seconds
    assert not longer.stop
    by_id = pb.ExtendCallRequest(call_id=admission.call_id, org="acme")
    assert (await system.backend().ExtendCall(by_id)).expire_time == longer.expire_time
    await kill(system.staff(), reason="runaway", message="stop it")
    stopped = await system.backend().ExtendCall(extend)
    assert stopped.stop
    assert stopped.stop_message == "stop it"
    await system.backend().CompleteCall(report(admission))
    ended = await system.backend().ExtendCall(extend)
    assert ended.finished.state == pb.FINISHED_STATE_SETTLED
    assert not ended.HasField("expire_time")
    never = pb.ExtendCallRequest(call_id=new_id(), org="acme")
    assert (await refusal(system.backend().ExtendCall(never))).reason == "CALL_NOT_FOUND"
    short = pb.ExtendCallRequest(permit=admission.permit, hold_duration=Duration())
    assert (await refusal(system.backend().ExtendCall(short))).fields == ("hold_duration",)


async def test_costs_are_estimated_and_limits_watched_without_holding(system: System) -> None:
    backend = system.backend()
    question = pb.EstimateCostRequest(call=make_call())
    question.call.call_id = ""
    estimate = await backend.EstimateCost(question)
    assert all(each.fits for each in estimate.candidates)
    admission = await admit(backend, make_call())
    assert estimate.candidates[0].worst_case_nanos == admission.held_nanos
    assert estimate.max_output_token_count == admission.max_output_token_count
    await put(system, "two", cap=2)
    stream: Any = backend.WatchLimits(pb.WatchLimitsRequest(call=question.call), timeout=60.0)
    assert (await stream.read()).open
    # Asking has held nothing: there is room for both.
    await admit(backend, make_call())
    await admit(backend, make_call())
    state = await stream.read()
    while state.open:
        state = await stream.read()
    assert {each.limit_id: each.held for each in state.counters}["two"] == 2
    stream.cancel()
    closed = await backend.EstimateCost(question)
    assert [each.limit_id for each in closed.candidates[0].violations] == ["two"]


async def test_staff_ask_why_and_write_off(system: System) -> None:
    await put(system, "ann", scope={"user": "ann"}, cap=0)
    ask = limit_admin_pb2.ExplainLimitsRequest(org="acme", call=make_call(user="ann"))
    explained = await questions(system).ExplainLimits(ask)
    assert not explained.candidates[0].fits
    assert "ann" in {each.limit.limit_id for each in explained.candidates[0].limits}
    admission = await admit(system.backend(), make_call())
    await system.fetch(
        "admission", "UPDATE reservation SET expire_time = clock_timestamp() RETURNING 1"
    )
    order = limit_admin_pb2.WriteOffCallsRequest(
        org="acme", call_ids=[admission.call_id, new_id()], reason="provider confirmed"
    )
    done = await questions(system).WriteOffCalls(order)
    assert done.calls[0].finished.state == pb.FINISHED_STATE_WRITTEN_OFF
    assert done.calls[1].error.reason == "CALL_NOT_FOUND"
    nothing = limit_admin_pb2.WriteOffCallsRequest(org="acme", call_ids=[admission.call_id])
    assert (await refusal(questions(system).WriteOffCalls(nothing))).fields == ("reason",)
