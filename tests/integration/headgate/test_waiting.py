"""A denied call may wait for room, as long as waiting can help."""

from __future__ import annotations

import asyncio
import threading

import grpc
import pytest

import headgate
from headgate.testing import OUTPUT_NANOS, Failure, FakeGateway
from headgate.waiting import WATCHER_COUNT_MAX

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
            await fake.wait_for_rpc("WatchLimits")
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
        await fake.wait_for_rpc("WatchLimits")
        entering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await entering

    assert fake.ledger.held_nanos("acme") == 0


async def test_whoever_hears_of_room_does_not_ask_in_between(fake: FakeGateway) -> None:
    async with fake.client() as client:
        waiting = client.call("summarize", max_output_tokens=101, wait_seconds=60)
        entering = asyncio.create_task(waiting.__aenter__())
        await fake.wait_for_rpc("WatchLimits")
        # Longer than three pauses of who only asks.
        await asyncio.sleep(0.8)
        assert fake.count("AdmitCall") == 1
        fake.ledger.cap_nanos = 2 * CAP
        await asyncio.wait_for(entering, 5)
        await waiting.__aexit__(None, None, None)

    assert fake.count("AdmitCall") == 2


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.RESOURCE_EXHAUSTED]
)
async def test_without_a_stream_the_call_asks_now_and_then(
    fake: FakeGateway, code: grpc.StatusCode
) -> None:
    fake.faults.plant("watch", Failure(code=code))
    async with fake.client() as client:
        waiting = client.call("summarize", max_output_tokens=101, wait_seconds=60)
        entering = asyncio.create_task(waiting.__aenter__())
        await fake.wait_for_rpc("AdmitCall", count=4)
        fake.ledger.cap_nanos = 2 * CAP
        await asyncio.wait_for(entering, 5)
        await waiting.__aexit__(None, None, None)

    assert fake.count("WatchLimits") == 1


async def test_more_than_a_few_waiting_calls_share_no_more_streams(fake: FakeGateway) -> None:
    async with fake.client() as client:
        calls = [
            client.call("summarize", max_output_tokens=101, wait_seconds=60)
            for _ in range(WATCHER_COUNT_MAX + 4)
        ]
        entering = [asyncio.create_task(call.__aenter__()) for call in calls]
        # Those without a stream ask again by themselves.
        asked = len(calls) + 8
        await fake.wait_until(
            lambda: sum(count for name, count in fake.rpcs if name.startswith("Admit")) >= asked
        )
        assert fake.count("WatchLimits") == WATCHER_COUNT_MAX
        fake.ledger.cap_nanos = len(calls) * 2 * CAP
        await asyncio.gather(*entering)
        for call in calls:
            await call.__aexit__(None, None, None)
        assert client.desk._watches._count == 0


async def test_a_promised_moment_needs_no_stream(fake: FakeGateway) -> None:
    fake.ledger.retry_seconds = 3600
    async with fake.client() as client:
        call = client.call("summarize", max_output_tokens=101, wait_seconds=600)
        with pytest.raises(headgate.Denied):
            await call.__aenter__()

    assert fake.count("WatchLimits") == 0


def test_a_blocking_call_waits_too(fake: FakeGateway) -> None:
    timer = threading.Timer(0.3, lambda: setattr(fake.ledger, "cap_nanos", 2 * CAP))
    with fake.sync_client() as client:
        timer.start()
        with client.call("summarize", max_output_tokens=101, wait_seconds=60) as call:
            assert call.admitted
    timer.join()
