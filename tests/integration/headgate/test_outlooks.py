"""Asking what calls would cost, watching their limits, and prolonging their holds: both faces."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, closing

import pytest

import headgate
from headgate.testing import INPUT_NANOS, OUTPUT_NANOS, FakeGateway

WORST = 10 * INPUT_NANOS + 100 * OUTPUT_NANOS


@pytest.fixture
def fake() -> FakeGateway:
    made = FakeGateway()
    made.ledger.cap_nanos = WORST
    return made


async def test_an_estimate_holds_nothing(fake: FakeGateway) -> None:
    async with fake.client() as client:
        estimate = await client.estimate("summarize", input_tokens=10, max_output_tokens=100)
        dearer = await client.for_user("ann").estimate("summarize", max_output_tokens=1_000)

    assert fake.ledger.entries == {}
    assert estimate.fits
    assert [each.candidate.provider for each in estimate.candidates] == ["openai", "anthropic"]
    assert {each.worst_case_nanos for each in estimate.candidates} == {WORST}
    assert {each.held_tokens for each in estimate.candidates} == {110}
    assert estimate.max_output_tokens == 100
    assert not dearer.fits
    violation = dearer.candidates[0].violations[0]
    assert (violation.cap, violation.requested) == (WORST, 1_000 * OUTPUT_NANOS)


async def test_a_queue_pauses_and_resumes(fake: FakeGateway) -> None:
    async with fake.client() as client:
        states = client.watch_limits("summarize", input_tokens=10, max_output_tokens=100)
        async with aclosing(states):
            first = await anext(states)
            async with client.call("summarize", input_tokens=10, max_output_tokens=100) as call:
                full = await anext(states)
                call.release()
            again = await anext(states)

    assert (first.open, full.open, again.open) == (True, False, True)
    assert first.limits[0].cap == WORST
    assert (first.limits[0].held, full.limits[0].held) == (0, WORST)
    assert full.limits[0].metric is headgate.Metric.COST
    assert full.limits[0].scope == {"org": "acme"}
    assert full.retry_delay is not None


async def test_a_watch_over_the_network_ends_with_its_reader(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    async with aclosing(client.watch_limits("summarize")) as states:
        assert (await anext(states)).open
    with pytest.raises(headgate.NotFound):
        await anext(client.watch_limits("nonsense"))


async def test_a_long_call_keeps_its_hold(fake: FakeGateway) -> None:
    async with fake.client() as client:
        async with client.call("summarize", max_output_tokens=1) as call:
            assert call.admission is not None
            longer = await call.extend(3_600)
            named = await client.extend_call(call.call_id)
            fake.ledger.killed = True
            stopped = await call.extend()
            fake.ledger.killed = False
        ended = await client.extend_call(call.call_id)
        with pytest.raises(headgate.CallMisused):
            await call.extend()

    assert longer.expire_time is not None
    assert longer.expire_time > call.admission.expire_time
    assert named.expire_time == longer.expire_time
    assert (longer.stop, stopped.stop, stopped.stop_message) == (False, True, "Stopped.")
    assert ended.finished is not None
    assert ended.finished.state is headgate.FinishedState.SETTLED
    assert ended.expire_time is None


async def test_a_call_that_nobody_decided_on_has_no_hold_to_keep() -> None:
    candidate = headgate.Candidate("openai", "gpt-4o-mini")
    async with headgate.Client(
        "127.0.0.1:1", api_key="k", on_unreachable="allow", admission_timeout_seconds=0.1
    ) as client:
        async with client.call("summarize", default_candidate=candidate) as call:
            extension = await call.extend()
            call.release()
        await asyncio.sleep(0)

    assert extension == headgate.Extension(
        expire_time=None, finished=None, stop=False, stop_message=""
    )


def test_blocking_faces_answer_alike(fake: FakeGateway) -> None:
    with fake.sync_client() as client:
        assert client.estimate("summarize", max_output_tokens=100).fits
        with closing(client.watch_limits("summarize", max_output_tokens=100)) as states:
            assert next(states).open
            with client.call("summarize", max_output_tokens=100) as call:
                assert not next(states).open
                extension = call.extend(3_600)
                assert client.extend_call(call.call_id).expire_time == extension.expire_time
                call.release()
            assert next(states).open
