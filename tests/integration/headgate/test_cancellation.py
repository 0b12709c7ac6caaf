"""Cancellation at each await of a call: never swallowed, and no hold is left behind."""

from __future__ import annotations

import asyncio
import signal

import pytest

import headgate
from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import gateway_pb2
from headgate.testing import API_KEY, FakeGateway, serve_gateway

RELEASED = gateway_pb2.FINISHED_STATE_RELEASED
SETTLED = gateway_pb2.FINISHED_STATE_SETTLED


async def run_call(call: headgate.Call, entered: asyncio.Event) -> None:
    async with call:
        call.report(output_tokens=4)
        entered.set()
        await asyncio.Event().wait()


async def cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


@pytest.mark.parametrize("after", [False, True], ids=["before the decision", "after it"])
async def test_a_call_cancelled_while_it_is_admitted_holds_nothing(
    gateway: FakeGateway, client: headgate.Client, after: bool
) -> None:
    pause = gateway.faults.pause("admit", after=after)
    call = client.call("summarize")
    task = asyncio.create_task(run_call(call, asyncio.Event()))
    await pause.reached.wait()
    await cancelled(task)
    await gateway.wait_for_end(call.call_id)
    pause.resume.set()

    assert gateway.ledger.entry(call.call_id).state == RELEASED
    assert gateway.ledger.held_nanos("acme") == 0


async def test_an_admission_that_comes_after_its_release_finds_the_call_finished(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    pause = gateway.faults.pause("admit")
    call = client.call("summarize")
    task = asyncio.create_task(run_call(call, asyncio.Event()))
    await pause.reached.wait()
    await cancelled(task)
    await gateway.wait_for_end(call.call_id)
    pause.resume.set()
    # A later answer proves that the delayed one has been decided.
    async with client.call("summarize") as later:
        later.report(output_tokens=1)

    assert gateway.ledger.entry(call.call_id).admission is None
    assert gateway.ledger.held_nanos("acme") == 0


async def test_an_id_of_the_callers_is_not_released_for_it_may_be_in_use_elsewhere(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    pause = gateway.faults.pause("admit", after=True)
    call = client.call("summarize", call_id="01890a5d-ac96-774b-bcce-b302099a8057")
    task = asyncio.create_task(run_call(call, asyncio.Event()))
    await pause.reached.wait()
    await cancelled(task)
    pause.resume.set()
    await client.close()

    assert gateway.count("ReleaseCall") == 0
    assert gateway.ledger.entry(call.call_id).state is None


async def test_a_call_cancelled_in_its_block_is_reported_as_aborted(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    entered = asyncio.Event()
    call = client.call("summarize")
    task = asyncio.create_task(run_call(call, entered))
    await entered.wait()
    await cancelled(task)

    report = gateway.ledger.entry(call.call_id).report
    assert report is not None
    assert report.outcome == call_pb2.CALL_OUTCOME_ABORTED
    assert report.error_type == "CancelledError"
    assert report.meters.output_token_count == 4
    assert call.receipt is not None


async def test_a_caller_that_is_cancelled_does_not_wait_long_for_its_report(
    gateway: FakeGateway, client: headgate.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headgate.attempt.CANCELLED_WAIT_SECONDS_MAX", 0.01)
    entered = asyncio.Event()
    call = client.call("summarize")
    task = asyncio.create_task(run_call(call, entered))
    await entered.wait()
    pause = gateway.faults.pause("complete")
    await cancelled(task)
    assert gateway.ledger.entry(call.call_id).state is None

    pause.resume.set()
    await gateway.wait_for_end(call.call_id)
    assert gateway.ledger.entry(call.call_id).state == SETTLED


@pytest.mark.parametrize("after", [False, True], ids=["before it is booked", "after it"])
async def test_a_call_cancelled_while_it_is_reported_is_reported_all_the_same(
    gateway: FakeGateway, client: headgate.Client, after: bool
) -> None:
    pause = gateway.faults.pause("complete", after=after)
    call = client.call("summarize")

    async def body() -> None:
        async with call:
            call.report(output_tokens=4)

    task = asyncio.create_task(body())
    await pause.reached.wait()
    await cancelled(task)
    pause.resume.set()
    await gateway.wait_for_end(call.call_id)

    report = gateway.ledger.entry(call.call_id).report
    assert report is not None
    assert report.outcome == call_pb2.CALL_OUTCOME_SUCCEEDED


async def test_a_call_cancelled_while_it_is_released_is_released_all_the_same(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    pause = gateway.faults.pause("release")
    call = client.call("summarize")

    async def body() -> None:
        async with call:
            call.release()

    task = asyncio.create_task(body())
    await pause.reached.wait()
    await cancelled(task)
    pause.resume.set()
    await gateway.wait_for_end(call.call_id)

    assert gateway.ledger.entry(call.call_id).state == RELEASED


async def test_a_second_cancellation_does_not_lose_the_report(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    entered = asyncio.Event()
    call = client.call("summarize")
    task = asyncio.create_task(run_call(call, entered))
    await entered.wait()
    pause = gateway.faults.pause("complete")
    task.cancel()
    await pause.reached.wait()
    await cancelled(task)
    pause.resume.set()
    await gateway.wait_for_end(call.call_id)

    assert gateway.ledger.entry(call.call_id).state == SETTLED


async def test_a_timeout_around_a_call_is_the_callers_and_not_the_providers(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    call = client.call("summarize")

    async def body() -> None:
        async with asyncio.timeout(None) as bound, call:
            bound.reschedule(0)
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await body()
    report = gateway.ledger.entry(call.call_id).report
    assert report is not None
    assert report.outcome == call_pb2.CALL_OUTCOME_ABORTED


async def test_a_timeout_within_a_call_is_the_providers(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    call = client.call("summarize")

    with pytest.raises(TimeoutError):
        async with call, asyncio.timeout(0):
            await asyncio.Event().wait()

    report = gateway.ledger.entry(call.call_id).report
    assert report is not None
    assert report.outcome == call_pb2.CALL_OUTCOME_PROVIDER_FAILED


async def test_a_task_group_that_fails_ends_the_calls_of_its_other_tasks(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    entered = asyncio.Event()
    call = client.call("summarize")

    async def fail() -> None:
        await entered.wait()
        raise ValueError

    async def body() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(run_call(call, entered))
            group.create_task(fail())

    with pytest.raises(ExceptionGroup):
        await body()
    assert gateway.ledger.entry(call.call_id).state == SETTLED


def test_ctrl_c_reports_the_open_call_before_the_program_ends() -> None:
    fake = FakeGateway()

    async def main() -> None:
        async with (
            serve_gateway(fake),
            headgate.Client(fake.target, api_key=API_KEY) as client,
            client.call("summarize") as call,
        ):
            call.report(output_tokens=4)
            signal.raise_signal(signal.SIGINT)
            await asyncio.Event().wait()

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(main())
    (entry,) = fake.ledger.entries.values()
    assert entry.state == SETTLED
