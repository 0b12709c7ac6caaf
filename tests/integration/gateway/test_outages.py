"""A peer that is away makes calls wait, never a wrong decision; it heals when the peer is back."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from gateway import batches, health_watch
from gateway.jobs.bootstrap import FALLBACK_TEXT
from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import gateway_pb2 as pb
from tests.integration.gateway.system import (
    NOWHERE,
    Refusal,
    System,
    eventually,
    new_id,
    persist,
    refusal,
)

SUCCEEDED = call_pb2.CALL_OUTCOME_SUCCEEDED


def away(peer: str, **metadata: str) -> Refusal:
    return Refusal(
        code="UNAVAILABLE",
        reason="PEER_UNAVAILABLE",
        fields=(),
        metadata={"peer": peer, **metadata},
        retry_seconds=0.5,
    )


def make_call() -> pb.AdmitCallRequest:
    return pb.AdmitCallRequest(call_id=new_id(), operation="summarize", input_token_count=10)


def report(admission: pb.Admission) -> pb.CompleteCallRequest:
    return pb.CompleteCallRequest(permit=admission.permit, outcome=SUCCEEDED)


async def held(system: System) -> int:
    (row,) = await system.fetch("admission", "SELECT count(*) FROM reservation")
    count: int = row[0]
    return count


async def test_without_admission_nothing_is_admitted_and_reports_are_booked(
    system: System,
) -> None:
    backend = system.backend()
    admission = (await backend.AdmitCall(make_call())).decision.admission
    await system.stop("admission")
    lost = make_call()

    by_id = pb.CompleteCallRequest(call_id=new_id(), outcome=SUCCEEDED)
    refused, released, unknown, batch, completed = await asyncio.gather(
        refusal(backend.AdmitCall(lost)),
        refusal(backend.ReleaseCall(pb.ReleaseCallRequest(call_id=new_id()))),
        refusal(backend.CompleteCall(by_id)),
        backend.AdmitCalls(pb.AdmitCallsRequest(calls=[lost, make_call()])),
        backend.CompleteCall(report(admission)),
    )

    assert released == unknown == away("admission")
    assert refused == away("admission", fallback_text=FALLBACK_TEXT)
    assert [each.error.reason for each in batch.decisions] == ["PEER_UNAVAILABLE"] * 2
    assert completed.receipt.total_nanos == admission.held_nanos
    assert await held(system) == 1

    await system.start("admission")
    again = await persist(lambda: backend.AdmitCall(lost))

    assert again.decision.admission.call_id == lost.call_id
    # Only the new call is left: the feed has settled the first one.
    await eventually(lambda: has_held(system, 1))


async def has_held(system: System, count: int) -> bool:
    return await held(system) == count


async def test_without_accounting_calls_go_on_and_reports_wait(system: System) -> None:
    backend = system.backend()
    await system.stop("accounting")

    admission = (await backend.AdmitCall(make_call())).decision.admission
    refused, batch = await asyncio.gather(
        refusal(backend.CompleteCall(report(admission))),
        backend.CompleteCalls(pb.CompleteCallsRequest(calls=[report(admission)])),
    )
    await system.start("accounting")
    receipt = (await persist(lambda: backend.CompleteCall(report(admission)))).receipt

    assert refused == away("accounting")
    assert batch.results[0].error.reason == "PEER_UNAVAILABLE"
    assert (receipt.total_nanos, receipt.replayed) == (admission.held_nanos, False)


async def test_a_gateway_that_never_saw_prices_says_so_instead_of_unpriced(
    system: System,
) -> None:
    await system.stop("gateway")
    await system.start("gateway", accounting_addresses=NOWHERE)

    refused = await refusal(system.backend().AdmitCall(make_call()))

    assert refused == away("accounting", fallback_text=FALLBACK_TEXT)
    assert await held(system) == 0


async def test_without_health_the_last_state_holds_and_is_called_stale(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_watch, "STALE_SECONDS", 0.2)
    backend = system.backend()
    await system.stop("health")

    async def is_stale() -> bool:
        return bool((await backend.GetStatus(pb.GetStatusRequest())).stale)

    await eventually(is_stale)
    decision = (await backend.AdmitCall(make_call())).decision
    await backend.CompleteCall(report(decision.admission))
    await system.start("health")

    async def is_fresh() -> bool:
        return not await is_stale()

    assert decision.WhichOneof("decision") == "admission"
    await eventually(is_fresh)


async def test_a_caller_that_gives_up_leaves_no_half_done_batch(system: System) -> None:
    backend = system.backend()
    calls = [make_call() for _ in range(20)]
    rpcs = [backend.AdmitCall(each) for each in calls]
    for rpc in rpcs[::2]:
        rpc.cancel()

    answers = await asyncio.gather(*(rpcs[1::2]))
    again = await asyncio.gather(*(backend.AdmitCall(each) for each in calls))

    assert {each.decision.WhichOneof("decision") for each in answers} == {"admission"}
    assert {each.decision.WhichOneof("decision") for each in again} == {"admission"}
    assert all(each.decision.admission.replayed for each in again[1::2])
    assert await held(system) == 20


async def test_a_deadline_that_leaves_no_time_is_refused_before_anything(system: System) -> None:
    refused = await refusal(system.backend().AdmitCall(make_call(), timeout=0.001))

    assert refused.code == "DEADLINE_EXCEEDED"
    assert await held(system) == 0


async def test_a_replica_that_hangs_delays_calls_and_loses_none(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "ATTEMPT_SECONDS_MAX", 0.2)
    taken: list[bytes] = []

    async def hang(request: bytes, context: Any) -> bytes:
        taken.append(request)
        await asyncio.Event().wait()
        return b""

    server = grpc.aio.server()
    reserve: dict[str, Any] = {"Reserve": grpc.unary_unary_rpc_method_handler(hang)}
    name = "headgate.api.admission.v1.AdmissionService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, reserve),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    both = f"127.0.0.1:{port},{system.addresses['admission']}"
    await system.start("between", admission_addresses=both)
    backend = system.backend(at="between")

    async def has_met_it() -> bool:
        decision = (await persist(lambda: backend.AdmitCall(make_call()))).decision
        assert decision.WhichOneof("decision") == "admission"
        return len(taken) >= 2

    await eventually(has_met_it)
    await server.stop(None)
