"""Stops of a part of the calls, at gateways that hear of them and at one that cannot."""

from __future__ import annotations

import pytest

from headgate.api.common.v1 import denial_pb2, health_pb2
from headgate.api.gateway.v1 import admin_pb2, gateway_pb2
from tests.integration.gateway.system import (
    GLOBEX_KEY,
    NOWHERE,
    Keyed,
    System,
    eventually,
    kill,
    new_id,
    refusal,
)

pb = gateway_pb2
FENCED = denial_pb2.DENIAL_REASON_FENCED


async def decide(backend: Keyed, operation: str = "summarize") -> pb.CallDecision:
    request = pb.AdmitCallRequest(call_id=new_id(), operation=operation, input_token_count=10)
    decision: pb.CallDecision = (await backend.AdmitCall(request)).decision
    return decision


@pytest.mark.parametrize("at", ["gateway", "deaf"])
async def test_a_stop_of_one_org_stops_its_calls_only(system: System, at: str) -> None:
    if at == "deaf":
        await system.start("deaf", health_addresses=NOWHERE)
    acme, globex = system.backend(at=at), system.backend(GLOBEX_KEY, at=at)
    stopped = await kill(system.staff(), reason="drill", scope={"org": "acme"})

    denied, admitted = await decide(acme), await decide(globex)
    await system.staff().Resume(
        admin_pb2.ResumeRequest(reason="done", kill_id=stopped.kill.kill_id)
    )

    async def passes() -> bool:
        return (await decide(acme)).WhichOneof("decision") == "admission"

    assert denied.denial.reason == FENCED
    assert "org acme" in denied.denial.message
    assert denied.denial.fallback_text
    assert admitted.WhichOneof("decision") == "admission"
    await eventually(passes)


@pytest.mark.parametrize("at", ["gateway", "deaf"])
async def test_a_stop_of_a_provider_moves_calls_to_another(system: System, at: str) -> None:
    if at == "deaf":
        await system.start("deaf", health_addresses=NOWHERE)
    backend = system.backend(at=at)
    await kill(system.staff(), reason="drill", scope={"provider": "openai"})
    moved = await decide(backend)
    await kill(system.staff(), reason="drill", scope={"provider": "anthropic"})

    assert moved.admission.candidate.provider == "anthropic"
    assert (await decide(backend)).denial.reason == FENCED


async def test_a_stop_lifts_itself(system: System) -> None:
    backend, staff = system.backend(), system.staff()
    order = admin_pb2.PrepareKillRequest(reason="drill")
    order.expire_duration.FromSeconds(1)
    token = (await staff.PrepareKill(order)).confirmation_token
    request = admin_pb2.KillRequest(reason="drill", confirmation_token=token)
    request.expire_duration.FromSeconds(1)
    stopped = (await staff.Kill(request)).kill

    async def passes() -> bool:
        return (await decide(backend)).WhichOneof("decision") == "admission"

    async def is_lifted() -> bool:
        return not (await backend.GetStatus(pb.GetStatusRequest())).kills

    assert stopped.HasField("expire_time")
    await eventually(passes)
    await eventually(is_lifted)


async def test_nothing_is_stopped_without_its_own_confirmation(system: System) -> None:
    staff = system.staff()
    prepared = await staff.PrepareKill(admin_pb2.PrepareKillRequest(reason="drill"))
    token = prepared.confirmation_token
    wrong = [
        admin_pb2.KillRequest(reason="drill"),
        admin_pb2.KillRequest(reason="another", confirmation_token=token),
        admin_pb2.KillRequest(reason="drill", scope={"org": "acme"}, confirmation_token=token),
    ]

    refusals = [await refusal(staff.Kill(request)) for request in wrong]

    assert {(each.code, each.reason) for each in refusals} == {
        ("FAILED_PRECONDITION", "CONFIRMATION_REQUIRED")
    }
    assert "summarize" in prepared.operations
    assert (await decide(system.backend())).WhichOneof("decision") == "admission"


async def test_staff_force_a_breaker_and_read_its_history(system: System) -> None:
    backend, staff = system.backend(), system.staff()
    order = admin_pb2.SetBreakerRequest(
        provider="openai", override=health_pb2.BREAKER_OVERRIDE_OPEN, reason="maintenance"
    )
    forced = await staff.SetBreaker(order)

    async def moved() -> bool:
        return (await decide(backend)).admission.candidate.provider == "anthropic"

    await eventually(moved)
    order.override = health_pb2.BREAKER_OVERRIDE_UNSPECIFIED
    await staff.SetBreaker(order)
    moves = (await staff.ListBreakerMoves(admin_pb2.ListBreakerMovesRequest())).moves

    assert forced.state == health_pb2.BREAKER_STATE_OPEN
    assert [(each.cause, each.actor, each.reason) for each in moves] == [
        ("reset", "admin", "maintenance"),
        ("forced", "admin", "maintenance"),
    ]
