"""From AdmitCall to the books, through the real services."""

from __future__ import annotations

import asyncio
import time

from gateway.permits import Signer, parse_signing_keys
from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import admin_pb2, permit_pb2
from headgate.api.gateway.v1 import gateway_pb2 as pb
from tests.integration.gateway.system import (
    PERMIT_KEYS,
    Refusal,
    System,
    eventually,
    new_id,
    refusal,
)
from tests.integration.gateway.traffic import (
    METERS,
    METERS_NANOS,
    OPENAI,
    SUCCEEDED,
    admit,
    make_call,
    money_of,
    report,
)


async def test_an_admitted_call_is_booked_at_what_it_used(system: System) -> None:
    backend = system.backend()
    request = make_call(labels={"ticket": "T-1"})

    admission = await admit(backend, request)
    held = await money_of(system, "acme")
    wanted = report(admission)
    wanted.latency.FromMilliseconds(1_500)
    wanted.error_type = "none"
    receipt = (await backend.CompleteCall(wanted)).receipt

    assert (admission.call_id, admission.org) == (request.call_id, "acme")
    assert admission.candidate == OPENAI
    assert admission.held_nanos == 1_000 * 150 + 100 * 600
    assert admission.max_output_token_count == 100
    assert admission.fallback_text
    assert 0 < len(admission.permit) <= 4_096
    assert admission.expire_time.seconds - admission.admit_time.seconds == 600
    assert held == (admission.held_nanos, 0, 0, 0)
    assert (receipt.call_id, receipt.total_nanos) == (request.call_id, METERS_NANOS)
    assert receipt.cost_basis == call_pb2.COST_BASIS_METERS
    assert not receipt.replayed
    assert await money_of(system, "acme") == (0, METERS_NANOS, METERS_NANOS, METERS_NANOS)
    (row,) = await system.fetch("accounting", "SELECT * FROM usage_log")
    assert '"ticket": "T-1"' in row["labels"]
    assert (row["api_key_id"], row["latency_ms"], row["error_type"]) == ("acme", 1_500, "none")


async def test_a_held_call_is_admitted_once_however_often_it_asks(system: System) -> None:
    backend = system.backend()
    request = make_call()

    first = await admit(backend, request)
    again = await admit(backend, request)
    reused = await refusal(backend.AdmitCall(make_call(request.call_id, input_byte_count=9_999)))

    assert (first.replayed, again.replayed) == (False, True)
    assert (again.candidate, again.held_nanos) == (first.candidate, first.held_nanos)
    assert (again.admit_time, again.permit) == (first.admit_time, first.permit)
    assert (reused.code, reused.reason) == ("ALREADY_EXISTS", "ID_REUSED")
    assert (await money_of(system, "acme"))[0] == first.held_nanos


async def test_a_finished_call_is_not_admitted_again(system: System) -> None:
    backend = system.backend()
    request = make_call()
    await backend.CompleteCall(report(await admit(backend, request)))

    finished = (await backend.AdmitCall(request)).decision.finished

    assert finished.call_id == request.call_id
    assert finished.state == pb.FINISHED_STATE_SETTLED
    assert finished.settled_nanos == METERS_NANOS


async def test_a_report_is_booked_once_however_often_it_comes(system: System) -> None:
    backend = system.backend()
    admission = await admit(backend, make_call())
    wanted = report(admission)

    receipts = await asyncio.gather(*(backend.CompleteCall(wanted) for _ in range(4)))
    other = report(admission)
    other.meters.output_token_count += 1
    reused = await refusal(backend.CompleteCall(other))

    assert {each.receipt.total_nanos for each in receipts} == {METERS_NANOS}
    assert sorted(each.receipt.replayed for each in receipts) == [False, True, True, True]
    assert (reused.code, reused.reason) == ("ALREADY_EXISTS", "ID_REUSED")
    assert await money_of(system, "acme") == (0, METERS_NANOS, METERS_NANOS, METERS_NANOS)


async def test_a_lost_permit_is_looked_up(system: System) -> None:
    backend = system.backend()
    admission = await admit(backend, make_call())
    by_id = pb.CompleteCallRequest(call_id=admission.call_id, outcome=SUCCEEDED, meters=METERS)

    first = (await backend.CompleteCall(by_id)).receipt
    again = (await backend.CompleteCall(report(admission))).receipt

    assert (first.total_nanos, first.replayed) == (METERS_NANOS, False)
    assert (again.total_nanos, again.replayed) == (METERS_NANOS, True)


async def test_without_usage_the_hold_is_charged_unless_the_provider_failed(
    system: System,
) -> None:
    backend = system.backend()
    totals = {}
    for outcome in call_pb2.CallOutcome.values()[1:]:
        admission = await admit(backend, make_call())
        request = pb.CompleteCallRequest(permit=admission.permit, outcome=outcome)
        totals[outcome] = (await backend.CompleteCall(request)).receipt.total_nanos

    held = 1_000 * 150 + 100 * 600
    assert totals == {
        call_pb2.CALL_OUTCOME_SUCCEEDED: held,
        call_pb2.CALL_OUTCOME_PROVIDER_FAILED: 0,
        call_pb2.CALL_OUTCOME_REJECTED: 0,
        call_pb2.CALL_OUTCOME_ABORTED: held,
        call_pb2.CALL_OUTCOME_THROTTLED: 0,
    }
    assert await money_of(system, "acme") == (0, 2 * held, 2 * held, 2 * held)


async def test_a_released_call_holds_and_costs_nothing(system: System) -> None:
    backend = system.backend()
    request = make_call()
    admission = await admit(backend, request)

    release = pb.ReleaseCallRequest(permit=admission.permit)
    released = (await backend.ReleaseCall(release)).finished
    again = (await backend.ReleaseCall(release)).finished
    finished = (await backend.AdmitCall(request)).decision.finished

    assert released == again == finished
    assert (released.call_id, released.settled_nanos) == (request.call_id, 0)
    assert released.state == pb.FINISHED_STATE_RELEASED
    assert await money_of(system, "acme") == (0, 0, 0, 0)


async def test_a_report_after_the_release_is_booked_late(system: System) -> None:
    backend = system.backend()
    request = make_call()
    admission = await admit(backend, request)
    await backend.ReleaseCall(pb.ReleaseCallRequest(permit=admission.permit))

    receipt = (await backend.CompleteCall(report(admission))).receipt
    finished = (await backend.AdmitCall(request)).decision.finished

    assert receipt.total_nanos == METERS_NANOS
    assert finished.state == pb.FINISHED_STATE_LATE
    assert await money_of(system, "acme") == (0, METERS_NANOS, METERS_NANOS, METERS_NANOS)


async def test_releasing_an_unknown_id_stops_its_delayed_admission(system: System) -> None:
    backend = system.backend()
    request = make_call()

    await backend.ReleaseCall(pb.ReleaseCallRequest(call_id=request.call_id))
    decision = (await backend.AdmitCall(request)).decision

    assert decision.finished.state == pb.FINISHED_STATE_RELEASED


async def test_reporting_an_unknown_id_is_refused(system: System) -> None:
    call_id = new_id()

    refused = await refusal(
        system.backend().CompleteCall(
            pb.CompleteCallRequest(call_id=call_id, outcome=SUCCEEDED, meters=METERS)
        )
    )

    assert refused == Refusal(
        code="NOT_FOUND",
        reason="CALL_NOT_FOUND",
        fields=(),
        metadata={"call": call_id},
        retry_seconds=None,
    )


async def test_a_report_after_the_expiry_is_booked_late(system: System) -> None:
    backend = system.backend()
    route = admin_pb2.Route(operation="brief", candidates=[OPENAI], hold_seconds=1)
    await system.staff().PutRoute(admin_pb2.PutRouteRequest(route=route))
    request = make_call(operation="brief")

    async def is_known() -> bool:
        (decision,) = (await backend.AdmitCalls(pb.AdmitCallsRequest(calls=[request]))).decisions
        return bool(decision.HasField("admission"))

    await eventually(is_known)
    admission = await admit(backend, request)

    async def is_finished() -> bool:
        return bool((await backend.AdmitCall(request)).decision.HasField("finished"))

    await eventually(is_finished)
    expired = (await backend.AdmitCall(request)).decision.finished
    receipt = (await backend.CompleteCall(report(admission))).receipt
    late = (await backend.AdmitCall(request)).decision.finished

    assert expired.state == pb.FINISHED_STATE_EXPIRED
    assert expired.settled_nanos == admission.held_nanos
    assert receipt.total_nanos == METERS_NANOS
    assert (late.state, late.settled_nanos) == (pb.FINISHED_STATE_LATE, METERS_NANOS)
    assert await money_of(system, "acme") == (0, METERS_NANOS, METERS_NANOS, METERS_NANOS)


async def test_a_report_beyond_the_horizon_is_too_late(system: System) -> None:
    permit = permit_pb2.Permit(
        org="acme",
        call_id=new_id(),
        operation="summarize",
        candidate=OPENAI,
        admit_time_micros=time.time_ns() // 1_000 - 36 * 86_400 * 1_000_000,
        price_version=1,
        held_nanos=1,
    )
    signed = Signer(parse_signing_keys(PERMIT_KEYS)).sign(permit)
    backend = system.backend()

    refused = await refusal(
        backend.CompleteCall(pb.CompleteCallRequest(permit=signed, outcome=SUCCEEDED))
    )

    assert refused.reason == "TOO_LATE"
    assert refused.metadata == {"horizon_days": "35"}
    assert await money_of(system, "acme") == (0, 0, 0, 0)
