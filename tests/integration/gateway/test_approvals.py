"""Calls that need a person's leave: asked for, decided and made, at one gateway and at two."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import pytest_asyncio

from headgate.api.common.v1 import call_pb2, denial_pb2, limit_pb2
from headgate.api.gateway.v1 import admin_pb2, approval_admin_pb2, approval_pb2, gateway_pb2
from tests.integration.gateway.leave import (
    APPROVED,
    PENDING,
    approve,
    ask,
    decide,
    held_count,
    make,
    people,
    reject,
    states_of,
    write_route,
)
from tests.integration.gateway.system import GLOBEX_KEY, System, eventually, new_id, refusal
from tests.integration.gateway.test_process import environment, run
from tests.integration.headgate.real import running_system

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXPIRED: Final = approval_pb2.APPROVAL_STATE_EXPIRED
REQUIRED: Final = denial_pb2.DENIAL_REASON_APPROVAL_REQUIRED
REFUSED: Final = denial_pb2.DENIAL_REASON_APPROVAL_REFUSED


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(postgres_url: str, pytestconfig: pytest.Config) -> AsyncIterator[System]:
    async with running_system(postgres_url, pytestconfig) as running:
        yield running


@pytest.fixture
def operation(request: pytest.FixtureRequest) -> str:
    """An operation of the test's own: one system serves them all."""
    return f"{request.node.name[:60]}".replace("[", "-").replace("]", "")


async def test_a_call_waits_for_a_person_holds_nothing_and_is_then_admitted_once(
    system: System,
    operation: str,
) -> None:
    await write_route(system, operation, approval_required=True)
    acme, call = system.backend(), make(operation)
    denied = (await decide(acme, call)).denial
    approval = await ask(acme, call)
    repeated = await ask(acme, call)
    waiting = states_of(acme, approval)

    assert denied.reason == REQUIRED
    assert "RequestApproval" in denied.message
    assert "'acme'" in denied.message
    assert denied.fallback_text
    assert (await anext(waiting)).state == PENDING
    assert repeated == approval
    assert (approval.need, approval.operation) == (
        approval_pb2.APPROVAL_NEED_OPERATION,
        operation,
    )
    assert [each.provider for each in approval.candidates] == ["openai", "anthropic"]
    assert await held_count(system, operation) == 0

    call.approval_id = approval.approval_id
    early = (await decide(acme, call)).denial
    assert early.approval_flaw == denial_pb2.APPROVAL_FLAW_PENDING
    decided = await approve(system, approval)
    assert (await anext(waiting)) == decided
    assert [each async for each in waiting] == []
    first, second = await decide(acme, call), await decide(acme, call)
    assert first.admission.held_nanos <= approval.cost_nanos_max
    assert second.admission.replayed
    again = (await decide(acme, make(operation, approval_id=approval.approval_id))).denial
    assert again.approval_flaw == denial_pb2.APPROVAL_FLAW_OTHER_CALL

    await acme.CompleteCall(
        gateway_pb2.CompleteCallRequest(
            permit=first.admission.permit, outcome=call_pb2.CALL_OUTCOME_SUCCEEDED
        )
    )
    assert (await decide(acme, call)).WhichOneof("decision") == "finished"
    (row,) = await system.fetch(
        "accounting", "SELECT approved FROM usage_log WHERE operation = $1", operation
    )
    assert row["approved"] is True
    target, audited = f"approval/{call.approval_id}", "SELECT FROM audit_entry WHERE target = $1"
    assert len(await system.fetch("gateway", audited, target)) == 1


async def test_what_was_rejected_or_expired_or_is_anothers_does_not_pass(
    system: System, operation: str
) -> None:
    await write_route(system, operation, approval_required=True)
    acme, globex = system.backend(), system.backend(GLOBEX_KEY)

    async def flaw(call: gateway_pb2.AdmitCallRequest, backend: Any = acme) -> str:
        denial = (await decide(backend, call)).denial
        assert denial.reason == REFUSED
        return denial_pb2.ApprovalFlaw.Name(denial.approval_flaw).removeprefix("APPROVAL_FLAW_")

    rejected, late, given = make(operation), make(operation), make(operation)
    no, never, yes = [await ask(acme, each) for each in (rejected, late, given)]
    assert (await reject(system, no)).reason == "Too dear."
    await approve(system, yes)
    await system.fetch(
        "gateway",
        "UPDATE approval SET expire_time = clock_timestamp() WHERE approval_id = $1::text::uuid",
        never.approval_id,
    )
    rejected.approval_id, late.approval_id = no.approval_id, never.approval_id
    given.approval_id = yes.approval_id
    dearer = make(
        operation, call_id=given.call_id, approval_id=yes.approval_id, max_output_token_count=101
    )

    assert await flaw(rejected) == "REJECTED"
    assert await flaw(late) == "EXPIRED"
    assert (
        await flaw(make(operation, call_id=given.call_id, approval_id=yes.approval_id), globex)
        == "UNKNOWN"
    )
    assert await flaw(make(operation, approval_id=new_id())) == "UNKNOWN"
    assert await flaw(dearer) == "CHANGED"
    assert [each.state async for each in states_of(acme, never)] == [EXPIRED]
    closed = await refusal(approve(system, never))
    other = await refusal(reject(system, yes))
    assert (closed.reason, closed.metadata["state"]) == ("APPROVAL_CLOSED", "expired")
    assert (other.reason, other.metadata["state"]) == ("APPROVAL_CLOSED", "approved")
    assert (await approve(system, yes)).state == APPROVED
    stranger = await refusal(anext(states_of(globex, yes)))
    assert stranger.reason == "APPROVAL_NOT_FOUND"
    # The leave is not lost by all that.
    assert (await decide(acme, given)).WhichOneof("decision") == "admission"


async def test_a_leave_lasts_for_the_attempts_that_replace_its_call_and_no_more(
    system: System,
    operation: str,
) -> None:
    await write_route(system, operation, approval_required=True)
    acme, call = system.backend(), make(operation)
    approval = await ask(acme, call)
    await approve(system, approval)
    call.approval_id = approval.approval_id
    first = (await decide(acme, call)).admission
    shown = {"parent_call_id": call.call_id, "approval_id": approval.approval_id}
    fresh = (await decide(acme, make(operation, **shown))).denial
    second = make(operation, **shown, excluded_candidates=[first.candidate])
    moved = (await decide(acme, second)).admission
    repeated = (await decide(acme, second)).admission
    third = (
        await decide(acme, make(operation, **shown, excluded_candidates=[first.candidate]))
    ).denial

    assert fresh.approval_flaw == denial_pb2.APPROVAL_FLAW_OTHER_CALL
    assert moved.candidate.provider == "anthropic"
    assert repeated.replayed
    assert third.approval_flaw == denial_pb2.APPROVAL_FLAW_OTHER_CALL


async def test_a_cost_or_the_toggle_of_an_org_needs_a_person_and_the_rest_does_not(
    system: System,
    operation: str,
) -> None:
    acme, globex = system.backend(), system.backend(GLOBEX_KEY)
    await write_route(system, operation)
    cheap = await acme.EstimateCost(gateway_pb2.EstimateCostRequest(call=make(operation)))
    bound = max(each.worst_case_nanos for each in cheap.candidates)
    await write_route(system, operation, approval_threshold_nanos=bound)
    dear = make(operation, max_output_token_count=200)
    needed = await ask(acme, dear)

    assert (await decide(acme, make(operation))).WhichOneof("decision") == "admission"
    assert not (await ask(acme, make(operation))).approval_id
    assert (await decide(acme, dear)).denial.reason == REQUIRED
    assert needed.need == approval_pb2.APPROVAL_NEED_COST
    assert needed.cost_nanos_max > bound
    await approve(system, needed)
    # What people let pass at one price does not pass at a higher one.
    await system.fetch(
        "gateway",
        "UPDATE approval SET cost_nanos_max = 1 WHERE approval_id = $1::text::uuid",
        needed.approval_id,
    )
    dear.approval_id = needed.approval_id
    uncovered = (await decide(acme, dear)).denial
    assert uncovered.approval_flaw == denial_pb2.APPROVAL_FLAW_NOT_COVERED

    await system.staff().PutToggle(
        admin_pb2.PutToggleRequest(
            toggle_id="auto-approval", org="acme", operation=operation, reason="trial"
        )
    )

    async def needs_people() -> bool:
        return (await decide(acme, make(operation))).denial.reason == REQUIRED

    await eventually(needs_people)
    assert (await ask(acme, make(operation))).need == approval_pb2.APPROVAL_NEED_TOGGLE
    assert (await decide(globex, make(operation))).WhichOneof("decision") == "admission"


async def test_limits_hold_for_approved_calls_too_and_the_leave_stays(
    system: System, operation: str
) -> None:
    await write_route(system, operation, approval_required=True)
    staff, acme, call = system.staff(), system.backend(), make(operation)
    approval = await ask(acme, call)
    await approve(system, approval)
    call.approval_id = approval.approval_id
    limit = limit_pb2.Limit(limit_id="none", metric=limit_pb2.METRIC_COST, cap=0)
    limit.scope["operation"] = operation
    limit.total.SetInParent()
    await staff.PutLimit(admin_pb2.PutLimitRequest(limit=limit))
    denied = (await decide(acme, call)).denial
    await staff.DeleteLimit(admin_pb2.DeleteLimitRequest(limit_id="none"))

    assert denied.reason == denial_pb2.DENIAL_REASON_BUDGET_EXCEEDED
    assert (await decide(acme, call)).WhichOneof("decision") == "admission"


async def test_what_one_gateway_hears_every_gateway_knows_and_a_kill_loses_nothing(
    system: System, operation: str
) -> None:
    await write_route(system, operation, approval_required=True)
    process = await run("serve", env=environment(system))
    assert process.stdout is not None
    system.addresses["doomed"] = json.loads(await process.stdout.readline())["address"]
    here, there, call = system.backend(), system.backend(at="doomed"), make(operation)
    approval = await ask(there, call)
    kept = states_of(here, approval)
    assert (await anext(kept)).state == PENDING
    request = approval_admin_pb2.ApproveCallRequest(approval_id=approval.approval_id)
    await people(system, at="doomed").ApproveCall(request)
    process.kill()
    await process.wait()

    call.approval_id = approval.approval_id
    admitted = await decide(here, call)
    again = [each.state async for each in states_of(here, approval)]

    assert admitted.WhichOneof("decision") == "admission"
    assert (await asyncio.wait_for(anext(kept), 5)).state == APPROVED
    assert again == [APPROVED]
    assert (await ask(here, make(operation, call_id=call.call_id))).state == APPROVED
