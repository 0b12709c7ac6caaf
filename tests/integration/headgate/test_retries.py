"""Repeats: the same id, in the caller's time, and one effect."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import grpc
import pytest

import headgate
from headgate.testing import API_KEY, Failure, FakeGateway, serve_gateway

GONE = Failure(code=grpc.StatusCode.UNAVAILABLE, reason="PEER_UNAVAILABLE")
GONE_AFTER = Failure(code=grpc.StatusCode.UNAVAILABLE, reason="PEER_UNAVAILABLE", after=True)
BUSY = Failure(
    code=grpc.StatusCode.RESOURCE_EXHAUSTED,
    reason="OVERLOADED",
    retry_delay=timedelta(milliseconds=10),
)
LATE = Failure(code=grpc.StatusCode.DEADLINE_EXCEEDED, reason="DEADLINE_TOO_SHORT")
BUG = Failure(code=grpc.StatusCode.INTERNAL, reason="INTERNAL")
# Which of them the last try meets is a matter of microseconds.
NO_ANSWER = (headgate.Unavailable, headgate.DeadlineExceeded)


@pytest.mark.parametrize("failure", [GONE, GONE_AFTER, BUSY], ids=["gone", "answer lost", "busy"])
async def test_an_admission_is_asked_for_again_with_the_same_id(
    gateway: FakeGateway, client: headgate.Client, failure: Failure
) -> None:
    gateway.faults.plant("admit", failure, failure)
    async with client.call("summarize") as call:
        call.report(output_tokens=1)

    assert gateway.count("AdmitCall") == 3
    assert list(gateway.ledger.entries) == [("acme", call.call_id)]
    assert call.admission is not None
    assert call.admission.replayed is failure.after


@pytest.mark.parametrize(
    "failure", [GONE, GONE_AFTER, BUSY, LATE], ids=["gone", "answer lost", "busy", "late"]
)
async def test_a_report_is_sent_again_and_booked_once(
    gateway: FakeGateway, client: headgate.Client, failure: Failure
) -> None:
    gateway.faults.plant("complete", failure, failure)
    async with client.call("summarize") as call:
        call.report(output_tokens=1)

    assert gateway.count("CompleteCall") == 3
    assert call.completion_error is None
    assert call.receipt is not None
    assert call.receipt.replayed is failure.after
    assert gateway.ledger.settled_nanos("acme") == call.receipt.total_nanos


@pytest.mark.parametrize("failure", [GONE, GONE_AFTER, BUSY, LATE])
async def test_a_release_is_sent_again(
    gateway: FakeGateway, client: headgate.Client, failure: Failure
) -> None:
    gateway.faults.plant("release", failure, failure)
    async with client.call("summarize") as call:
        call.release()

    assert gateway.count("ReleaseCall") == 3
    assert call.completion_error is None
    assert gateway.ledger.held_nanos("acme") == 0


async def test_a_gateway_that_dies_while_it_books_is_asked_again_when_it_is_back() -> None:
    fake = FakeGateway()
    pause = fake.faults.pause("complete", after=True)
    client = headgate.Client("127.0.0.1:1", api_key=API_KEY)
    async with serve_gateway(fake):
        client = headgate.Client(fake.target, api_key=API_KEY)
        call = client.call("summarize")

        async def body() -> None:
            async with call:
                call.report(output_tokens=1)

        task = asyncio.create_task(body())
        await pause.reached.wait()
    # The connection is cut: the report is booked, its receipt is lost.
    async with serve_gateway(fake), client:
        await task

    assert call.receipt is not None
    assert call.receipt.replayed
    assert fake.ledger.settled_nanos("acme") == call.receipt.total_nanos


async def test_a_gateway_that_dies_while_it_admits_admits_once() -> None:
    fake = FakeGateway()
    pause = fake.faults.pause("admit", after=True)
    async with serve_gateway(fake):
        client = headgate.Client(fake.target, api_key=API_KEY)
        call = client.call("summarize")
        task = asyncio.create_task(call.__aenter__())
        await pause.reached.wait()
    async with serve_gateway(fake), client:
        await task
        await call.__aexit__(None, None, None)

    assert call.admission is not None
    assert call.admission.replayed
    assert len(fake.ledger.entries) == 1
    assert fake.ledger.held_nanos("acme") == 0


@pytest.mark.parametrize("kind", ["admit", "complete", "release"])
@pytest.mark.parametrize("after", [False, True], ids=["before its effect", "after it"])
async def test_a_gateway_that_hangs_is_left_for_the_next_one(
    gateway: FakeGateway,
    client: headgate.Client,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    after: bool,
) -> None:
    monkeypatch.setattr("headgate.connection.TRY_SECONDS_MAX", 0.2)
    pause = gateway.faults.pause(kind, after=after)
    async with client.call("summarize") as call:
        if kind == "release":
            call.release()
    pause.resume.set()

    assert call.completion_error is None
    assert len(gateway.ledger.entries) == 1
    assert gateway.ledger.held_nanos("acme") == 0


async def test_an_admission_ends_when_its_time_is_over(gateway: FakeGateway) -> None:
    pause = gateway.faults.pause("admit", after=True)
    async with headgate.Client(gateway.target, api_key=API_KEY) as client:
        call = client.call("summarize", timeout_seconds=0.05)
        with pytest.raises(headgate.Denied) as caught:
            await call.__aenter__()
        await gateway.wait_for_end(call.call_id)
        pause.resume.set()

    assert isinstance(caught.value.__cause__, headgate.DeadlineExceeded)
    assert gateway.ledger.held_nanos("acme") == 0


async def test_a_call_that_nobody_can_decide_fails_in_its_time_and_holds_nothing(
    gateway: FakeGateway,
) -> None:
    gateway.faults.plant("admit", *[GONE_AFTER] * 100)
    async with headgate.Client(gateway.target, api_key=API_KEY) as client:
        call = client.call("summarize", timeout_seconds=0.1)
        with pytest.raises(headgate.Denied) as caught:
            await call.__aenter__()

    assert isinstance(caught.value.__cause__, NO_ANSWER)
    assert gateway.ledger.held_nanos("acme") == 0


@pytest.mark.parametrize("call_id", ["", "01890a5d-ac96-774b-bcce-b302099a8057"])
async def test_a_definite_refusal_is_neither_repeated_nor_released(
    gateway: FakeGateway, client: headgate.Client, call_id: str
) -> None:
    with pytest.raises(headgate.NotFound) as caught:
        await client.call("nonsense", call_id=call_id).__aenter__()
    await client.close()

    assert caught.value.reason == "OPERATION_NOT_FOUND"
    assert [method for method, _ in gateway.rpcs] == ["AdmitCall"]


async def test_a_report_that_cannot_be_delivered_is_kept_told_and_not_raised(
    gateway: FakeGateway, client: headgate.Client, told: pytest.LogCaptureFixture
) -> None:
    gateway.faults.plant("complete", BUG)
    async with client.call("summarize") as call:
        call.report(output_tokens=1)

    assert isinstance(call.completion_error, headgate.InternalError)
    assert call.receipt is None
    assert call.call_id in told.text


async def test_a_report_is_given_up_when_its_time_is_over(gateway: FakeGateway) -> None:
    gateway.faults.plant("complete", *[GONE] * 100)
    client = headgate.Client(gateway.target, api_key=API_KEY, report_timeout_seconds=0.1)
    async with client, client.call("summarize") as call:
        call.report(output_tokens=1)

    assert isinstance(call.completion_error, NO_ANSWER)


async def test_a_release_that_cannot_be_delivered_is_kept_and_told(
    gateway: FakeGateway, client: headgate.Client, told: pytest.LogCaptureFixture
) -> None:
    gateway.faults.plant("release", BUG)
    async with client.call("summarize") as call:
        call.release()

    assert isinstance(call.completion_error, headgate.InternalError)
    assert call.call_id in told.text


async def test_a_finished_id_is_not_run_again(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    async with client.call("summarize") as call:
        call.report(output_tokens=1)
    again = client.call("summarize", call_id=call.call_id)

    with pytest.raises(headgate.Finished) as caught:
        await again.__aenter__()
    assert caught.value.decision.state is headgate.FinishedState.SETTLED
    assert call.receipt is not None
    assert caught.value.decision.settled_nanos == call.receipt.total_nanos


async def test_an_id_with_other_fields_is_refused(
    gateway: FakeGateway, client: headgate.Client
) -> None:
    async with client.call("summarize") as call:
        other = client.call("summarize", call_id=call.call_id, input_tokens=1)
        with pytest.raises(headgate.IdReused):
            await other.__aenter__()
        call.report(output_tokens=1)
