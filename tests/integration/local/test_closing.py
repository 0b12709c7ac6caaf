"""What the demo asks again at its end, from a gateway that loses what it acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

import headgate
from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import gateway_pb2 as pb
from headgate.channel import open_channel
from headgate.testing import API_KEY, FakeGateway, serve_gateway
from local.demo import journal
from local.demo.client import TappedClient
from local.demo.closing import Auditor, Closing
from local.demo.journal import Journal
from local.demo.reconciliation import Ending
from local.demo.tally import Tally

ORG = "acme"


class Play:
    """A tapped client, its journal, and the gateway that it talks to."""

    def __init__(self, fake: FakeGateway, path: Path) -> None:
        self.fake = fake
        self.path = path
        self.tally = Tally()
        self.client: headgate.Client

    async def make_call(self, *, tokens: int | None = 10, cancelled: bool = False) -> str:
        call = self.client.call("demo-chat", org=ORG, input_tokens=50, max_output_tokens=50)
        with contextlib.suppress(asyncio.CancelledError):
            async with call:
                if tokens is not None:
                    call.report(input_tokens=tokens, output_tokens=0)
                if cancelled:
                    raise asyncio.CancelledError
        return call.call_id

    async def strand_call(self) -> str:
        """A call whose caller dies: nobody reports it."""
        call = self.client.call("demo-chat", org=ORG, input_tokens=50, max_output_tokens=50)
        await call.__aenter__()
        return call.call_id

    async def close(self) -> Closing:
        entries = list(journal.read([self.path]).values())
        async with open_channel(self.fake.target, insecure=True) as channel:
            auditor = Auditor(channel, api_keys={ORG: API_KEY})
            await auditor.mend(entries)
            return await auditor.close(entries)


@pytest_asyncio.fixture
async def play(tmp_path: Path) -> AsyncIterator[Play]:
    fake = FakeGateway()
    fake.ledger.routes = {"demo-chat": (("demo-openai", "gpt-4o-mini"),)}
    async with serve_gateway(fake):
        result = Play(fake, tmp_path / "journal")
        with Journal(path=result.path) as record:
            async with TappedClient(
                fake.target, api_key=API_KEY, journal=record, tally=result.tally
            ) as client:
                result.client = client
                yield result


async def test_reported_and_unreported_calls_are_booked_as_they_ended(play: Play) -> None:
    reported = await play.make_call(tokens=10)
    forgotten = await play.make_call(tokens=None)
    closing = await play.close()
    bookings = {each.call_id: each for each in closing.bookings}

    assert closing.violations == []
    assert bookings[reported].ending is Ending.REPORTED
    assert bookings[reported].nanos == 10_000
    assert bookings[forgotten].ending is Ending.UNREPORTED
    assert bookings[forgotten].nanos == play.fake.ledger.entry(forgotten).settled_nanos
    assert all(each.logged for each in closing.bookings)


async def test_a_lost_acknowledged_completion_fails(play: Play) -> None:
    call_id = await play.make_call()
    entry = play.fake.ledger.entry(call_id)
    entry.receipt, entry.state, entry.settled_nanos = None, None, 0
    closing = await play.close()

    assert closing.violations == [
        f"the completion of call {call_id} was acknowledged and then lost"
    ]


async def test_an_acknowledged_completion_that_changes_its_amount_fails(play: Play) -> None:
    call_id = await play.make_call(tokens=10)
    entry = play.fake.ledger.entry(call_id)
    assert entry.receipt is not None
    entry.receipt.total_nanos += 1
    closing = await play.close()

    assert closing.violations == [
        f"call {call_id} was acknowledged at 10000 nano-dollars and is now booked at 10001"
    ]


async def test_a_report_that_is_refused_fails(play: Play) -> None:
    call_id = await play.make_call()
    del play.fake.ledger.entries[ORG, call_id]
    closing = await play.close()

    assert closing.violations == [f"the report of call {call_id} is refused: CALL_NOT_FOUND"]


async def test_a_call_without_a_report_must_have_expired_at_its_hold(play: Play) -> None:
    right, wrong = await play.strand_call(), await play.strand_call()
    for call_id, error in ((right, 0), (wrong, 1)):
        entry = play.fake.ledger.entry(call_id)
        assert entry.admission is not None
        entry.state = pb.FINISHED_STATE_EXPIRED
        entry.settled_nanos = entry.admission.held_nanos + error
    closing = await play.close()

    assert {each.ending for each in closing.bookings} == {Ending.UNREPORTED}
    assert not any(each.logged for each in closing.bookings)
    assert closing.violations == [
        f"unreported call {wrong} of acme is booked at 250001 nano-dollars instead of 250000"
    ]


async def test_a_call_that_nobody_reported_must_not_be_settled(play: Play) -> None:
    call_id = await play.strand_call()
    play.fake.ledger.entry(call_id).state = pb.FINISHED_STATE_SETTLED
    closing = await play.close()

    assert closing.violations == [
        f"call {call_id} was never reported, yet it is FINISHED_STATE_SETTLED"
    ]


async def test_a_released_call_must_stay_released(play: Play) -> None:
    async with play.client.call("demo-chat", org=ORG, input_tokens=5) as call:
        call.release()
    assert [each.ending for each in (await play.close()).bookings] == [Ending.RELEASED]

    play.fake.ledger.entry(call.call_id).state = pb.FINISHED_STATE_EXPIRED
    closing = await play.close()

    assert f"call {call.call_id} was released and then unreported" in closing.violations


async def test_a_cancelled_call_must_cost_what_it_reported(play: Play) -> None:
    # This gateway's prices are not the provider's.
    call_id = await play.make_call(tokens=10, cancelled=True)
    closing = await play.close()

    assert [each.ending for each in closing.bookings] == [Ending.CANCELLED]
    (violation,) = closing.violations
    assert call_id in violation
    assert violation.endswith("is booked at 10000 nano-dollars instead of 1500")


async def test_a_report_that_was_not_answered_is_sent_again(play: Play) -> None:
    call_id = await play.strand_call()
    sent = pb.CompleteCallRequest(
        permit=play.fake.ledger.entry(call_id).admission.permit,  # type: ignore[union-attr]
        outcome=call_pb2.CALL_OUTCOME_SUCCEEDED,
        meters=call_pb2.UsageMeters(input_token_count=3),
    )
    with Journal(path=play.path) as record:
        record._calls[sent.permit] = call_id
        record.reporting(sent)
    closing = await play.close()

    assert [(each.call_id, each.nanos) for each in closing.bookings] == [(call_id, 3_000)]
    assert closing.violations == []


async def test_a_call_whose_admission_nobody_saw_is_released(play: Play) -> None:
    with Journal(path=play.path) as record:
        record.asked([pb.AdmitCallRequest(call_id="unseen", org=ORG, operation="demo-chat")])
    closing = await play.close()

    assert play.fake.ledger.entry("unseen").state == pb.FINISHED_STATE_RELEASED
    assert closing == Closing()


async def test_a_denied_call_is_not_asked_about(play: Play) -> None:
    play.fake.ledger.killed = True
    with contextlib.suppress(headgate.Denied):
        await play.make_call()
    rpcs = list(play.fake.rpcs)

    assert await play.close() == Closing()
    assert play.fake.rpcs == rpcs
    assert play.tally.org(ORG).denied == {"fenced": 1}
