"""The fake gateway answers as the real one does: what the SDK's tests stand on."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable
from typing import TYPE_CHECKING, Any

import grpc.aio
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration

from headgate.api.common.v1 import call_pb2, denial_pb2
from headgate.api.gateway.v1 import gateway_pb2 as pb
from headgate.api.gateway.v1 import gateway_pb2_grpc
from headgate.errors import RpcError
from headgate.failures import parse_failure
from headgate.testing import FakeGateway, serve_gateway
from tests.integration.gateway.system import ACME_KEY, GLOBEX_KEY, Keyed
from tests.integration.headgate.real import running_system

if TYPE_CHECKING:
    from headgate.api.gateway.v1.gateway_pb2_grpc import GatewayServiceAsyncStub

pytestmark = pytest.mark.asyncio(loop_scope="module")

SUCCEEDED = call_pb2.CALL_OUTCOME_SUCCEEDED
ABORTED = call_pb2.CALL_OUTCOME_ABORTED
METERS = call_pb2.UsageMeters(input_token_count=90, output_token_count=10)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["memory", "fake", "real"])
async def stub(
    request: pytest.FixtureRequest, postgres_url: str, pytestconfig: pytest.Config
) -> AsyncIterator[GatewayServiceAsyncStub]:
    fake = FakeGateway(keys={ACME_KEY: ("acme",), GLOBEX_KEY: ("globex",)})
    async with contextlib.AsyncExitStack() as stack:
        if request.param == "real":
            system = await stack.enter_async_context(running_system(postgres_url, pytestconfig))
            channel = grpc.aio.insecure_channel(system.addresses["gateway"])
        elif request.param == "fake":
            await stack.enter_async_context(serve_gateway(fake))
            channel = grpc.aio.insecure_channel(fake.target)
        else:
            channel = fake.open_channel()
        await stack.enter_async_context(channel)
        yield gateway_pb2_grpc.GatewayServiceStub(channel)


@pytest.fixture
def acme(stub: GatewayServiceAsyncStub) -> Keyed:
    return Keyed(stub, ACME_KEY)


@pytest.fixture
def globex(stub: GatewayServiceAsyncStub) -> Keyed:
    return Keyed(stub, GLOBEX_KEY)


def ask(**values: object) -> pb.AdmitCallRequest:
    request = pb.AdmitCallRequest(
        call_id=str(uuid.uuid4()),
        operation="summarize",
        input_token_count=100,
        max_output_token_count=50,
    )
    request.MergeFrom(pb.AdmitCallRequest(**values))  # type: ignore[arg-type] # by field name
    return request


async def admit(gateway: Keyed, request: pb.AdmitCallRequest) -> pb.Admission:
    decision = (await gateway.AdmitCall(request)).decision
    assert decision.WhichOneof("decision") == "admission", decision
    admission: pb.Admission = decision.admission
    return admission


async def complete(gateway: Keyed, **values: object) -> pb.CallReceipt:
    request = pb.CompleteCallRequest(**{"outcome": SUCCEEDED, "meters": METERS, **values})  # type: ignore[arg-type] # by field name
    receipt: pb.CallReceipt = (await gateway.CompleteCall(request)).receipt
    return receipt


async def release(gateway: Keyed, **values: object) -> pb.FinishedCall:
    request = pb.ReleaseCallRequest(**values)  # type: ignore[arg-type] # by field name
    finished: pb.FinishedCall = (await gateway.ReleaseCall(request)).finished
    return finished


async def finished(gateway: Keyed, request: pb.AdmitCallRequest) -> pb.FinishedCall:
    decision = (await gateway.AdmitCall(request)).decision
    assert decision.WhichOneof("decision") == "finished", decision
    ended: pb.FinishedCall = decision.finished
    return ended


async def refused(rpc: Awaitable[object]) -> RpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await rpc
    return parse_failure(caught.value)


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
