"""A denied call may wait for room, as long as waiting can help."""

from __future__ import annotations

import asyncio

import pytest

import headgate
from headgate.testing import OUTPUT_NANOS, FakeGateway

CAP = 100 * OUTPUT_NANOS


@pytest.fixture
def fake() -> FakeGateway:
    made = FakeGateway()
    made.ledger.cap_nanos = CAP
    # Nobody knows when: the fake's own delay of an hour would end the wait.
    made.ledger.retry_seconds = 0
    return made


async def test_a_call_goes_when_another_one_makes_room(fake: FakeGateway) -> None:
    async with fake.client() as client:
        async with client.call("summarize", max_output_tokens=100) as first:
            waiting = client.call("summarize", max_output_tokens=50, wait_seconds=60)
            entering = asyncio.create_task(waiting.__aenter__())
            await fake.wait_for_rpc("AdmitCall", count=3)
            assert not entering.done()
            first.report(output_tokens=50)
        await entering
        await waiting.__aexit__(None, None, None)

    assert len(fake.ledger.entries) == 2
    assert waiting.admission is not None
    assert not waiting.admission.replayed


async def test_the_wait_ends_with_the_last_denial(fake: FakeGateway) -> None:
    async with fake.client() as client:
        call = client.call("summarize", max_output_tokens=101, wait_seconds=0.3)
        with pytest.raises(headgate.Denied):
            await call.__aenter__()

    assert fake.count("AdmitCall") >= 2
    assert fake.ledger.entries == {}


async def test_a_delay_that_is_too_long_is_not_waited_for(fake: FakeGateway) -> None:
    fake.ledger.retry_seconds = 3600
    async with fake.client() as client:
        call = client.call("summarize", max_output_tokens=101, wait_seconds=600)
        with pytest.raises(headgate.Denied):
            await call.__aenter__()

    assert fake.count("AdmitCall") == 1


async def test_whoever_is_cancelled_in_the_wait_holds_nothing(fake: FakeGateway) -> None:
    async with fake.client() as client:
        call = client.call("summarize", max_output_tokens=101, wait_seconds=60)
        entering = asyncio.create_task(call.__aenter__())
        await fake.wait_for_rpc("AdmitCall", count=2)
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering

    assert fake.ledger.held_nanos("acme") == 0
