"""The fake gateway answers as the real one does: what the SDK's tests stand on."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from headgate.api.common.v1 import call_pb2, denial_pb2
from headgate.api.gateway.v1 import gateway_pb2 as pb
from tests.integration.gateway.system import Keyed
from tests.integration.headgate.asking import (
    METERS,
    SUCCEEDED,
    admit,
    ask,
    complete,
    finished,
    refused,
    release,
)

if TYPE_CHECKING:
    from headgate.api.gateway.v1.gateway_pb2_grpc import GatewayServiceAsyncStub

pytestmark = pytest.mark.asyncio(loop_scope="module")

ABORTED = call_pb2.CALL_OUTCOME_ABORTED


async def test_an_admission_has_all_that_a_caller_needs(acme: Keyed) -> None:
    request = ask()
    admission = await admit(acme, request)

    assert (admission.call_id, admission.org) == (request.call_id, "acme")
    assert (admission.candidate.provider, admission.candidate.model) == ("openai", "gpt-4o-mini")
    assert admission.max_output_token_count == 50
    assert admission.held_nanos > 0
    assert 0 < len(admission.permit) <= 4_096
    assert admission.admit_time.ToNanoseconds() < admission.expire_time.ToNanoseconds()
    assert admission.fallback_text
    assert not admission.replayed


async def test_a_repeat_is_the_same_admission(acme: Keyed) -> None:
    request = ask()
    first, again = await admit(acme, request), await admit(acme, request)

    assert again.replayed
    assert (again.candidate, again.held_nanos) == (first.candidate, first.held_nanos)


async def test_an_id_with_other_fields_is_refused(acme: Keyed) -> None:
    request = ask()
    await admit(acme, request)
    request.input_token_count += 1
    failure = await refused(acme.AdmitCall(request))

    assert (failure.code, failure.reason) == ("ALREADY_EXISTS", "ID_REUSED")
    assert failure.metadata == {"call_id": request.call_id}


async def test_an_excluded_candidate_is_not_chosen_and_none_left_is_a_denial(acme: Keyed) -> None:
    first = call_pb2.Candidate(provider="openai", model="gpt-4o-mini")
    second = call_pb2.Candidate(provider="anthropic", model="claude-3-5-haiku-latest")
    admission = await admit(acme, ask(excluded_candidates=[first]))
    decision = (await acme.AdmitCall(ask(excluded_candidates=[first, second]))).decision

    assert admission.candidate == second
    assert decision.denial.reason == denial_pb2.DENIAL_REASON_NO_CANDIDATE
    assert decision.denial.fallback_text


async def test_a_report_is_booked_once(acme: Keyed) -> None:
    request = ask()
    admission = await admit(acme, request)
    first = await complete(acme, permit=admission.permit)
    again = await complete(acme, permit=admission.permit)
    without_permit = await complete(acme, call_id=request.call_id)
    ended = await finished(acme, request)

    assert (first.call_id, first.cost_basis) == (request.call_id, call_pb2.COST_BASIS_METERS)
    assert (first.replayed, again.replayed, without_permit.replayed) == (False, True, True)
    assert first.total_nanos == again.total_nanos == ended.settled_nanos > 0
    assert ended.state == pb.FINISHED_STATE_SETTLED


async def test_another_report_of_the_same_call_is_refused(acme: Keyed) -> None:
    admission = await admit(acme, ask())
    await complete(acme, permit=admission.permit)
    failure = await refused(complete(acme, permit=admission.permit, outcome=ABORTED))

    assert failure.reason == "ID_REUSED"


@pytest.mark.parametrize(
    ("outcome", "basis"),
    [
        (SUCCEEDED, call_pb2.COST_BASIS_HOLD),
        (ABORTED, call_pb2.COST_BASIS_HOLD),
        (call_pb2.CALL_OUTCOME_PROVIDER_FAILED, call_pb2.COST_BASIS_NONE),
        (call_pb2.CALL_OUTCOME_REJECTED, call_pb2.COST_BASIS_NONE),
        (call_pb2.CALL_OUTCOME_THROTTLED, call_pb2.COST_BASIS_NONE),
    ],
)
async def test_a_report_without_usage_costs_the_hold_or_nothing(
    acme: Keyed,
    outcome: call_pb2.CallOutcome.ValueType,
    basis: call_pb2.CostBasis.ValueType,
) -> None:
    admission = await admit(acme, ask())
    receipt = await complete(acme, permit=admission.permit, outcome=outcome, meters=None)

    held = admission.held_nanos if basis == call_pb2.COST_BASIS_HOLD else 0
    assert (receipt.cost_basis, receipt.total_nanos) == (basis, held)


async def test_a_call_whose_answer_did_not_come_in_time_costs_the_hold(acme: Keyed) -> None:
    admission = await admit(acme, ask())
    facts = {"outcome": call_pb2.CALL_OUTCOME_PROVIDER_FAILED, "error_type": "ReadTimeout"}
    receipt = await complete(acme, permit=admission.permit, meters=None, unanswered=True, **facts)

    assert receipt.cost_basis == call_pb2.COST_BASIS_HOLD
    assert receipt.total_nanos == admission.held_nanos > 0


async def test_a_released_call_is_finished_and_may_still_be_reported_late(acme: Keyed) -> None:
    request = ask()
    admission = await admit(acme, request)
    first = await release(acme, permit=admission.permit)
    again = await release(acme, call_id=request.call_id)
    ended = await finished(acme, request)
    receipt = await complete(acme, permit=admission.permit)
    late = await finished(acme, request)

    released = (pb.FINISHED_STATE_RELEASED, 0)
    assert all((each.state, each.settled_nanos) == released for each in (first, again, ended))
    assert (late.state, late.settled_nanos) == (pb.FINISHED_STATE_LATE, receipt.total_nanos)


async def test_a_settled_call_keeps_its_state_when_it_is_released(acme: Keyed) -> None:
    admission = await admit(acme, ask())
    receipt = await complete(acme, permit=admission.permit)
    ended = await release(acme, permit=admission.permit)

    assert (ended.state, ended.settled_nanos) == (
        pb.FINISHED_STATE_SETTLED,
        receipt.total_nanos,
    )


async def test_a_release_that_overtakes_its_admission_wins(acme: Keyed) -> None:
    request = ask()
    await release(acme, call_id=request.call_id)

    assert (await finished(acme, request)).state == pb.FINISHED_STATE_RELEASED


async def test_a_call_is_its_orgs(acme: Keyed, globex: Keyed) -> None:
    request = ask()
    admission = await admit(acme, request)
    failures = [
        await refused(globex.AdmitCall(ask(org="acme"))),
        await refused(complete(globex, permit=admission.permit)),
        await refused(release(globex, permit=admission.permit)),
        await refused(complete(globex, call_id=request.call_id)),
    ]
    await admit(globex, request)

    assert [each.code for each in failures] == ["NOT_FOUND"] * 4
    assert [each.reason for each in failures] == [*["ORG_NOT_FOUND"] * 3, "CALL_NOT_FOUND"]


async def test_what_is_wrong_is_named(acme: Keyed) -> None:
    wrong = await refused(acme.AdmitCall(pb.AdmitCallRequest(call_id="7", input_token_count=-1)))
    unknown = await refused(acme.AdmitCall(ask(operation="nonsense")))
    forged = await refused(complete(acme, permit=b"forged"))
    nothing = await refused(
        complete(acme, call_id=str(uuid.uuid4()), outcome=call_pb2.CALL_OUTCOME_UNSPECIFIED)
    )

    assert {each.field for each in wrong.violations} == {
        *("call_id", "operation", "input_token_count"),
    }
    assert (unknown.reason, unknown.metadata) == (
        "OPERATION_NOT_FOUND",
        {"operation": "nonsense"},
    )
    assert (forged.code, forged.reason) == ("INVALID_ARGUMENT", "PERMIT_INVALID")
    assert [each.field for each in nothing.violations] == ["outcome"]


async def test_each_member_of_a_batch_is_answered_by_itself(acme: Keyed) -> None:
    calls = [ask(), ask(operation="nonsense"), ask(org="globex")]
    decisions = (await acme.AdmitCalls(pb.AdmitCallsRequest(calls=calls))).decisions
    reports = [
        pb.CompleteCallRequest(
            permit=decisions[0].admission.permit, outcome=SUCCEEDED, meters=METERS
        ),
        pb.CompleteCallRequest(call_id=str(uuid.uuid4()), outcome=SUCCEEDED),
    ]
    results = (await acme.CompleteCalls(pb.CompleteCallsRequest(calls=reports))).results

    assert [each.WhichOneof("decision") for each in decisions] == ["admission", "error", "error"]
    assert [each.error.reason for each in decisions[1:]] == [
        *("OPERATION_NOT_FOUND", "ORG_NOT_FOUND"),
    ]
    assert results[0].receipt.total_nanos > 0
    assert (results[1].error.code, results[1].error.reason) == (5, "CALL_NOT_FOUND")


@pytest.mark.parametrize("count", [0, 257])
async def test_a_batch_has_1_to_256_members(acme: Keyed, count: int) -> None:
    many = pb.AdmitCallsRequest(calls=[ask()] * count)
    failure = await refused(acme.AdmitCalls(many))

    assert failure.code == "INVALID_ARGUMENT"
    assert [each.field for each in failure.violations] == ["calls"]


async def test_an_unknown_key_is_refused(
    stub: GatewayServiceAsyncStub,
) -> None:
    failure = await refused(Keyed(stub, "hg_k9_" + "Z" * 43).AdmitCall(ask()))

    assert (failure.code, failure.reason) == ("UNAUTHENTICATED", "UNAUTHENTICATED")


async def test_a_healthy_gateway_says_so(acme: Keyed) -> None:
    status = await acme.GetStatus(pb.GetStatusRequest())

    assert status.state == pb.SERVICE_STATE_HEALTHY
    assert not status.stale
    assert list(status.kills) == []
