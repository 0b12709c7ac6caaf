"""Closing a client: no report is lost, and nothing hangs."""

from __future__ import annotations

import asyncio

import grpc
import pytest

import headgate
from headgate.api.gateway.v1 import gateway_pb2
from headgate.testing import API_KEY, Failure, FakeGateway

RELEASED = gateway_pb2.FINISHED_STATE_RELEASED
GONE = Failure(code=grpc.StatusCode.UNAVAILABLE, reason="PEER_UNAVAILABLE")


async def run_call(call: headgate.Call) -> None:
    async with call:
        call.report(output_tokens=1)


async def test_closing_waits_for_reports_under_way(gateway: FakeGateway) -> None:
    client = headgate.Client(gateway.target, api_key=API_KEY)
    pause = gateway.faults.pause("complete")
    call = client.call("summarize")
    task = asyncio.create_task(run_call(call))
    await pause.reached.wait()
    closing = asyncio.create_task(client.close())
    done, _ = await asyncio.wait({closing}, timeout=0.02)
    assert not done

    pause.resume.set()
    await closing
    await task
    assert call.receipt is not None


async def test_closing_waits_for_reports_of_cancelled_callers_and_their_repeats(
    gateway: FakeGateway,
) -> None:
    client = headgate.Client(gateway.target, api_key=API_KEY)
    gateway.faults.plant("complete", GONE, GONE)
    pause = gateway.faults.pause("complete")
    calls = [client.call("summarize") for _ in range(20)]
    tasks = [asyncio.create_task(run_call(call)) for call in calls]
    await pause.reached.wait()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    closing = asyncio.create_task(client.close())
    pause.resume.set()
    await closing

    entered = [call for call in calls if call.admitted]
    assert entered
    assert all(gateway.ledger.entry(call.call_id).state is not None for call in entered)
    assert gateway.ledger.held_nanos("acme") == 0


async def test_a_call_that_is_admitted_while_the_client_closes_is_released(
    gateway: FakeGateway,
) -> None:
    client = headgate.Client(gateway.target, api_key=API_KEY)
    pause = gateway.faults.pause("admit", after=True)
    call = client.call("summarize")
    task = asyncio.create_task(run_call(call))
    await pause.reached.wait()
    closing = asyncio.create_task(client.close())
    # One turn of the loop: closing has begun.
    await asyncio.wait({closing}, timeout=0)
    pause.resume.set()
    await closing

    with pytest.raises(headgate.ClientClosed):
        await task
    assert gateway.ledger.entry(call.call_id).state == RELEASED


async def test_a_call_that_waits_to_repeat_is_released_when_the_client_closes(
    gateway: FakeGateway,
) -> None:
    client = headgate.Client(gateway.target, api_key=API_KEY)
    gateway.faults.plant(
        "admit", Failure(code=grpc.StatusCode.UNAVAILABLE, reason="PEER_UNAVAILABLE", after=True)
    )
    call = client.call("summarize")
    task = asyncio.create_task(run_call(call))
    await gateway.wait_for_rpc("AdmitCall")
    await client.close()

    with pytest.raises(headgate.ClientClosed):
        await task
    assert gateway.ledger.entry(call.call_id).state == RELEASED


async def test_a_call_abandoned_while_it_is_admitted_holds_closing_up_for_its_time_only(
    gateway: FakeGateway,
) -> None:
    client = headgate.Client(gateway.target, api_key=API_KEY)
    entering = client.call("summarize", timeout_seconds=0.2).__aenter__()
    # Its caller's task is never heard of again.
    entering.send(None)
    async with asyncio.timeout(10):
        await client.close()
    entering.close()


async def test_a_closed_client_takes_no_more_calls(gateway: FakeGateway) -> None:
    async with headgate.Client(gateway.target, api_key=API_KEY) as client:
        await client.status()
    for attempt in (client.call("summarize").__aenter__, client.status):
        with pytest.raises(headgate.ClientClosed):
            await attempt()


async def test_a_block_that_outlives_its_client_says_that_its_report_is_lost(
    gateway: FakeGateway, told: pytest.LogCaptureFixture
) -> None:
    client = headgate.Client(gateway.target, api_key=API_KEY)
    async with client.call("summarize") as call:
        await client.close()

    assert isinstance(call.completion_error, headgate.ClientClosed)
    assert call.call_id in told.text


async def test_closing_twice_or_unused_is_harmless(gateway: FakeGateway) -> None:
    client = headgate.Client(gateway.target, api_key=API_KEY)
    await client.close()
    await client.close()

    assert gateway.rpcs == []
