"""How good an answer was: said within the call, after it, or later by its id."""

from __future__ import annotations

import asyncio

import grpc
import pytest

import headgate
from headgate.testing import FakeGateway
from headgate.testing.faults import Failure


async def test_a_call_is_scored_within_its_block_and_after_it(
    client: headgate.Client, gateway: FakeGateway
) -> None:
    async with client.call("summarize", input_tokens=10) as call:
        await call.feedback("helpful", 0.5)
        call.approved = True
        call.report(input_tokens=10, output_tokens=1)
    await call.feedback("helpful", 1.0)
    await client.feedback(call.call_id, "polite", 0.25)
    entry = gateway.ledger.entry(call.call_id)

    assert entry.scores == {"helpful": 1.0, "polite": 0.25}
    assert entry.report is not None
    assert entry.report.approved


async def test_a_score_is_sent_again_if_nobody_answered(
    client: headgate.Client, gateway: FakeGateway
) -> None:
    async with client.call("summarize") as call:
        call.report(input_tokens=1)
    gateway.faults.plant("feedback", Failure(code=grpc.StatusCode.UNAVAILABLE))
    await call.feedback("helpful", 0.5)

    assert gateway.ledger.entry(call.call_id).scores == {"helpful": 0.5}
    assert gateway.count("RecordFeedback") == 2


async def test_what_cannot_be_scored_raises(client: headgate.Client) -> None:
    with pytest.raises(headgate.NotFound):
        await client.feedback("0193f8a0-0000-7000-8000-000000000000", "helpful", 0.5)
    with pytest.raises(headgate.CallMisused):
        await client.call("summarize").feedback("helpful", 0.5)
    async with client.call("summarize") as call:
        with pytest.raises(headgate.InvalidArgument):
            await call.feedback("helpful", 7.0)


async def test_who_awaits_nothing_scores_too() -> None:
    fake = FakeGateway()

    def work() -> str:
        with fake.sync_client() as client, client.call("summarize") as call:
            call.report(input_tokens=1)
            call.feedback("helpful", 0.5)
        with fake.sync_client() as client:
            client.feedback(call.call_id, "polite", 1.0)
        return call.call_id

    call_id = await asyncio.to_thread(work)
    assert fake.ledger.entry(call_id).scores == {"helpful": 0.5, "polite": 1.0}


async def test_switched_off_nobody_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADGATE_MODE", "off")
    async with headgate.Client() as client, client.call("summarize") as call:
        await call.feedback("helpful", 0.5)
        await client.feedback(call.call_id, "helpful", 0.5)
