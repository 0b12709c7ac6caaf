"""The fake gateway tells of calls that are not made yet, and of running ones, as the real one."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import gateway_pb2 as pb
from tests.integration.gateway.system import Keyed
from tests.integration.headgate.asking import admit, ask, refused, release

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_estimate_says_what_an_admission_holds(acme: Keyed) -> None:
    question = ask()
    question.call_id = ""
    estimate = await acme.EstimateCost(pb.EstimateCostRequest(call=question))
    first = call_pb2.Candidate(provider="openai", model="gpt-4o-mini")
    left = await acme.EstimateCost(pb.EstimateCostRequest(call=ask(excluded_candidates=[first])))
    admission = await admit(acme, ask())

    assert [each.candidate.provider for each in estimate.candidates] == ["openai", "anthropic"]
    assert all(each.fits and not each.violations for each in estimate.candidates)
    # A breaker that an earlier report opened may have chosen the second one.
    (held,) = [each for each in estimate.candidates if each.candidate == admission.candidate]
    assert held.worst_case_nanos == held.held_nanos == admission.held_nanos
    assert held.held_token_count == 150
    assert estimate.max_output_token_count == 50
    assert estimate.price_version > 0
    assert [each.candidate.provider for each in left.candidates] == ["anthropic"]


async def test_limits_are_told_at_once(acme: Keyed) -> None:
    stream: Any = acme.WatchLimits(pb.WatchLimitsRequest(call=ask()), timeout=30.0)
    state = await stream.read()
    stream.cancel()

    assert state.open
    assert not state.HasField("retry_delay")
    assert state.limits_version > 0


async def test_a_hold_is_prolonged_and_never_shortened(acme: Keyed) -> None:
    request = ask()
    admission = await admit(acme, request)
    hours = pb.ExtendCallRequest(permit=admission.permit, hold_duration=Duration(seconds=7_200))
    seconds = pb.ExtendCallRequest(call_id=request.call_id, hold_duration=Duration(seconds=1))
    longer = await acme.ExtendCall(hours)
    same = await acme.ExtendCall(seconds)
    await release(acme, permit=admission.permit)
    ended = await acme.ExtendCall(hours)

    assert longer.expire_time.seconds > admission.expire_time.seconds
    assert same.expire_time == longer.expire_time
    assert not longer.stop
    assert not longer.HasField("finished")
    assert ended.finished.state == pb.FINISHED_STATE_RELEASED
    assert not ended.HasField("expire_time")


async def test_what_is_wrong_with_a_question_is_named(acme: Keyed, globex: Keyed) -> None:
    admission = await admit(acme, ask())

    async def watch(call: pb.AdmitCallRequest) -> None:
        stream: Any = acme.WatchLimits(pb.WatchLimitsRequest(call=call), timeout=30.0)
        await stream.read()

    wrong = pb.AdmitCallRequest(call_id="7", input_token_count=-1)
    fields = {f"call.{name}" for name in ("call_id", "operation", "input_token_count")}
    for failure in (
        await refused(acme.EstimateCost(pb.EstimateCostRequest(call=wrong))),
        await refused(watch(wrong)),
    ):
        assert {each.field for each in failure.violations} == fields
    for unknown in (
        await refused(acme.EstimateCost(pb.EstimateCostRequest(call=ask(operation="nonsense")))),
        await refused(watch(ask(operation="nonsense"))),
    ):
        assert unknown.reason == "OPERATION_NOT_FOUND"
    short = pb.ExtendCallRequest(permit=admission.permit, hold_duration=Duration())
    failures = [
        await refused(acme.EstimateCost(pb.EstimateCostRequest(call=ask(org="globex")))),
        await refused(watch(ask(org="globex"))),
        await refused(globex.ExtendCall(pb.ExtendCallRequest(permit=admission.permit))),
        await refused(acme.ExtendCall(pb.ExtendCallRequest(call_id=str(uuid.uuid4())))),
        await refused(acme.ExtendCall(pb.ExtendCallRequest(permit=b"forged"))),
    ]
    assert [each.field for each in (await refused(acme.ExtendCall(short))).violations] == [
        "hold_duration"
    ]
    assert [each.reason for each in failures] == [
        *["ORG_NOT_FOUND"] * 3, "CALL_NOT_FOUND", "PERMIT_INVALID",
    ]  # fmt: skip
