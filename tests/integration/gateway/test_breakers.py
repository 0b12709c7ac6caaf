"""Breakers drop candidates, probes bring them back, and a kill stops everything at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio

from headgate.api.common.v1 import call_pb2, denial_pb2, health_pb2, limit_pb2
from headgate.api.gateway.v1 import admin_pb2, gateway_pb2
from tests.integration.gateway.system import (
    GLOBEX_KEY,
    NOWHERE,
    Keyed,
    System,
    build_system,
    eventually,
    kill,
    new_id,
)
from tests.postgres import Clone

pb = gateway_pb2
FAILED = call_pb2.CALL_OUTCOME_PROVIDER_FAILED
SUCCEEDED = call_pb2.CALL_OUTCOME_SUCCEEDED
OPEN, CLOSED = health_pb2.BREAKER_STATE_OPEN, health_pb2.BREAKER_STATE_CLOSED
OPEN_SECONDS = 1.0


@pytest_asyncio.fixture
async def quick(clone: Clone) -> AsyncIterator[System]:
    """A system whose breakers open after two failures and stay open for a second."""
    system = System(await clone("system", build_system))
    try:
        await system.start("accounting")
        await system.start("admission")
        await system.start(
            "health", failure_threshold=2, open_seconds=OPEN_SECONDS, open_jitter=0.0
        )
        await system.start("gateway")
        yield system
    finally:
        await system.close()


async def decide(backend: Keyed, operation: str = "summarize") -> pb.CallDecision:
    request = pb.AdmitCallRequest(call_id=new_id(), operation=operation, input_token_count=10)
    decision: pb.CallDecision = (await backend.AdmitCall(request)).decision
    return decision


async def end(
    backend: Keyed, decision: pb.CallDecision, outcome: call_pb2.CallOutcome.ValueType
) -> None:
    request = pb.CompleteCallRequest(permit=decision.admission.permit, outcome=outcome)
    await backend.CompleteCall(request)


async def wait_for(
    backend: Keyed, provider: str, state: health_pb2.BreakerState.ValueType
) -> pb.GetStatusResponse:
    status = pb.GetStatusResponse()

    async def has_state() -> bool:
        nonlocal status
        status = await backend.GetStatus(pb.GetStatusRequest())
        return any((each.provider, each.state) == (provider, state) for each in status.providers)

    await eventually(has_state)
    return status


async def break_provider(system: System, provider: str, operation: str = "summarize") -> None:
    """Fails a call of each of two orgs: one org's failures alone open nothing for others."""
    backend = system.backend()
    for caller in (backend, system.backend(GLOBEX_KEY)):
        decision = await decide(caller, operation)
        assert decision.admission.candidate.provider == provider
        await end(caller, decision, FAILED)
    await wait_for(backend, provider, OPEN)


async def test_an_open_breaker_moves_calls_to_the_next_candidate(quick: System) -> None:
    backend = quick.backend()
    await break_provider(quick, "openai")

    decision = await decide(backend)
    other = await decide(quick.backend(GLOBEX_KEY))
    status = await backend.GetStatus(pb.GetStatusRequest())

    assert decision.admission.candidate.provider == "anthropic"
    assert other.admission.candidate.provider == "anthropic"
    assert status.state == pb.SERVICE_STATE_DEGRADED


async def test_with_every_breaker_open_a_call_is_denied_with_a_time(quick: System) -> None:
    backend = quick.backend()
    held = pb.AdmitCallRequest(call_id=new_id(), operation="summarize", input_token_count=10)
    await backend.AdmitCall(held)
    await break_provider(quick, "openai")
    await break_provider(quick, "anthropic")

    denial = (await decide(backend)).denial
    replay = (await backend.AdmitCall(held)).decision

    assert denial.reason == denial_pb2.DENIAL_REASON_BREAKER_OPEN
    assert denial.retry_kind == denial_pb2.RETRY_KIND_AT
    assert 0 < denial.retry_delay.ToMilliseconds() <= OPEN_SECONDS * 1000
    assert denial.fallback_text
    # What was admitted stays admitted.
    assert replay.admission.replayed
    assert replay.admission.candidate.provider == "openai"


async def test_one_probe_passes_and_its_success_closes_the_breaker(quick: System) -> None:
    backend = quick.backend()
    await break_provider(quick, "openai")
    await break_provider(quick, "anthropic")

    decisions: list[pb.CallDecision] = []

    async def is_probed() -> bool:
        decisions[:] = await asyncio.gather(*(decide(backend) for _ in range(8)))
        return any(each.WhichOneof("decision") == "admission" for each in decisions)

    await eventually(is_probed)
    probes = [each for each in decisions if each.WhichOneof("decision") == "admission"]
    by_provider = [each.admission.candidate.provider for each in probes]
    assert len(by_provider) == len(set(by_provider)), "one probe a provider"
    for probe in probes:
        await end(backend, probe, SUCCEEDED)

    provider = by_provider[0]
    await wait_for(backend, provider, CLOSED)
    assert (await decide(backend)).admission.candidate.provider in by_provider


async def test_an_unused_probe_is_given_back(quick: System) -> None:
    backend, staff = quick.backend(), quick.staff()
    await break_provider(quick, "openai")
    await asyncio.sleep(OPEN_SECONDS)
    # Probed, but no budget: the probe's call never leaves.
    limit = admin_pb2.PutLimitRequest()
    limit.limit.limit_id, limit.limit.scope["org"] = "stop", "acme"
    limit.limit.metric = limit_pb2.METRIC_CALLS
    limit.limit.calendar.period = limit_pb2.CALENDAR_PERIOD_DAY
    await staff.PutLimit(limit)
    denied = await decide(backend)
    await staff.DeleteLimit(admin_pb2.DeleteLimitRequest(limit_id="stop"))

    async def probes_again() -> bool:
        decision = await decide(backend)
        return bool(decision.admission.candidate.provider == "openai")

    assert denied.denial.reason == denial_pb2.DENIAL_REASON_RATE_EXCEEDED
    await eventually(probes_again)


async def test_after_a_kill_nothing_is_admitted_until_it_is_lifted(system: System) -> None:
    backend, staff = system.backend(), system.staff()
    held = pb.AdmitCallRequest(call_id=new_id(), operation="summarize", input_token_count=10)
    admission = (await backend.AdmitCall(held)).decision.admission
    killed = asyncio.Event()
    late: list[pb.CallDecision] = []

    async def keep_asking() -> None:
        for _ in range(60):
            was_killed = killed.is_set()
            decision = await decide(backend)
            if was_killed:
                late.append(decision)

    asking = [asyncio.create_task(keep_asking()) for _ in range(8)]
    switch = (await kill(staff, reason="drill", message="Back at noon.")).kill
    killed.set()
    replay = (await backend.AdmitCall(held)).decision
    await asyncio.gather(*asking)
    receipt = await backend.CompleteCall(
        pb.CompleteCallRequest(permit=admission.permit, outcome=SUCCEEDED)
    )
    status = await backend.GetStatus(pb.GetStatusRequest())

    assert switch.state == health_pb2.KILL_STATE_IN_FORCE
    assert late
    assert {each.denial.reason for each in (*late, replay)} == {denial_pb2.DENIAL_REASON_FENCED}
    assert "Back at noon." in replay.denial.message
    assert replay.denial.fallback_text
    assert receipt.receipt.total_nanos == admission.held_nanos
    assert status.state == pb.SERVICE_STATE_STOPPED

    await staff.Resume(admin_pb2.ResumeRequest(reason="done"))

    async def passes() -> bool:
        return (await decide(backend)).WhichOneof("decision") == "admission"

    await eventually(passes)


async def test_a_gateway_that_cannot_hear_health_is_stopped_by_the_fence(system: System) -> None:
    await system.start("deaf", health_addresses=NOWHERE)
    deaf = system.backend(GLOBEX_KEY, at="deaf")
    held = pb.AdmitCallRequest(call_id=new_id(), operation="summarize", input_token_count=10)
    before = (await deaf.AdmitCall(held)).decision
    await kill(system.staff(), reason="drill", message="Back at noon.")

    decisions = await asyncio.gather(*(decide(deaf) for _ in range(20)))
    decisions.append((await deaf.AdmitCall(held)).decision)

    assert before.WhichOneof("decision") == "admission"
    assert {each.denial.reason for each in decisions} == {denial_pb2.DENIAL_REASON_FENCED}
    assert {bool(each.denial.fallback_text) for each in decisions} == {True}


async def see(
    backend: Keyed, provider: str, *, but: health_pb2.BreakerState.ValueType | None = None
) -> list[health_pb2.PartHealth]:
    """Waits until the gateway knows of an unfit part of the provider; its state is not `but`."""
    parts: list[health_pb2.PartHealth] = []

    async def has_part() -> bool:
        status = await backend.GetStatus(pb.GetStatusRequest())
        parts[:] = [each for each in status.parts if each.provider == provider]
        return bool(parts) and all(each.state != but for each in parts)

    await eventually(has_part)
    return parts


async def test_one_org_s_failures_open_its_own_way_and_leave_others_theirs(quick: System) -> None:
    backend, other = quick.backend(), quick.backend(GLOBEX_KEY)
    for _ in range(2):
        await end(backend, await decide(backend), FAILED)
    [part] = await see(backend, "openai")

    assert (part.credential, part.state) == ("acme", OPEN)
    assert (await decide(backend)).admission.candidate.provider == "anthropic"
    assert (await decide(other)).admission.candidate.provider == "openai"


async def test_a_throttled_org_waits_as_long_as_the_provider_asked_and_others_do_not(
    quick: System,
) -> None:
    backend, other = quick.backend(), quick.backend(GLOBEX_KEY)
    decision = await decide(backend)
    report = pb.CompleteCallRequest(
        permit=decision.admission.permit, outcome=call_pb2.CALL_OUTCOME_THROTTLED, error_type="429"
    )
    report.retry_delay.FromSeconds(600)
    await backend.CompleteCall(report)
    [part] = await see(backend, "openai")

    assert (part.credential, part.state, part.HasField("cool_time")) == ("acme", CLOSED, True)
    assert (await decide(backend)).admission.candidate.provider == "anthropic"
    assert (await decide(other)).admission.candidate.provider == "openai"


async def test_a_refused_credential_stops_only_calls_that_are_made_with_it(quick: System) -> None:
    backend = quick.backend()
    for _ in range(2):
        asked = pb.AdmitCallRequest(call_id=new_id(), operation="summarize", credential="old-key")
        admission = (await backend.AdmitCall(asked)).decision.admission
        await backend.CompleteCall(
            pb.CompleteCallRequest(
                permit=admission.permit,
                outcome=call_pb2.CALL_OUTCOME_REJECTED,
                error_type="401",
            )
        )
    # It is told of from the first refusal on.
    [part] = await see(backend, "openai", but=health_pb2.BREAKER_STATE_CLOSED)
    asked = pb.AdmitCallRequest(call_id=new_id(), operation="summarize", credential="old-key")
    moved = (await backend.AdmitCall(asked)).decision.admission

    assert (part.credential, part.state) == ("acme/old-key", OPEN)
    assert moved.candidate.provider == "anthropic"
    assert (await decide(backend)).admission.candidate.provider == "openai"
