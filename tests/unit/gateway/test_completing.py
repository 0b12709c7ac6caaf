"""The steps after a call: book, settle, tell health; what fails stops what depends on it."""

from __future__ import annotations

import pytest

from chassis.errors import Draining, PeerUnavailable, ServiceError
from gateway.decisions import CallName, Report
from headgate.api.accounting.v1 import accounting_pb2
from headgate.api.admission.v1 import admission_pb2
from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import gateway_pb2, permit_pb2
from tests.unit.gateway.calls import CALL_ID
from tests.unit.gateway.peers import Gateway, Method

HELD = call_pb2.Candidate(provider="openai", model="gpt-4o-mini")


def report(permit: permit_pb2.Permit | None = None) -> Report:
    return Report(
        name=CallName(org="acme", call_id=CALL_ID, permit=permit),
        outcome=call_pb2.CALL_OUTCOME_SUCCEEDED,
        message=gateway_pb2.CompleteCallRequest(),
    )


PERMIT = permit_pb2.Permit(org="acme", call_id=CALL_ID, candidate=HELD, breaker_epoch=4)


async def test_only_the_first_booking_settles_and_is_told_to_health() -> None:
    gateway = Gateway()
    await gateway.completions.complete(report(PERMIT), deadline=None)
    gateway.record = Method(
        lambda usage: accounting_pb2.RecordResult(booking=accounting_pb2.Booking(first=False))
    )

    again = await gateway.completions.complete(report(PERMIT), deadline=None)

    assert not again.booking.first
    (settlement,) = gateway.settle.asked
    assert (settlement.total_nanos, settlement.revision) == (7, 1)
    (heard,) = await gateway.hear()
    assert (heard.provider, heard.breaker_epoch) == ("openai", 4)


@pytest.mark.parametrize(
    "failing",
    [
        Method(Draining()),
        Method(lambda each: PeerUnavailable("admission")),
        Method(
            lambda each: admission_pb2.EndResult(error=call_pb2.CallError(code=13, reason="X"))
        ),
    ],
)
async def test_a_settlement_that_fails_is_left_to_the_feed(failing: Method) -> None:
    gateway = Gateway()
    gateway.settle = failing

    receipt = await gateway.completions.complete(report(PERMIT), deadline=None)

    assert receipt.booking.total_nanos == 7


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (accounting_pb2.RecordResult(), "INTERNAL"),
        (
            accounting_pb2.RecordResult(error=call_pb2.CallError(code=9, reason="TOO_LATE")),
            "TOO_LATE",
        ),
    ],
)
async def test_what_was_not_booked_is_neither_settled_nor_told(
    answer: accounting_pb2.RecordResult, expected: str
) -> None:
    gateway = Gateway()
    gateway.record = Method(lambda usage: answer)

    with pytest.raises(ServiceError) as refused:
        await gateway.completions.complete(report(PERMIT), deadline=None)

    assert refused.value.reason == expected
    assert gateway.settle.asked == []
    assert await gateway.hear() == []


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (PeerUnavailable("admission"), "PEER_UNAVAILABLE"),
        (
            admission_pb2.ReservationLookup(error=call_pb2.CallError(code=3, reason="OTHER")),
            "OTHER",
        ),
        (admission_pb2.ReservationLookup(), "CALL_NOT_FOUND"),
    ],
)
async def test_a_lost_permit_that_cannot_be_looked_up_books_nothing(
    answer: object, expected: str
) -> None:
    gateway = Gateway()
    gateway.look_up = Method(lambda key: answer)

    with pytest.raises(ServiceError) as refused:
        await gateway.completions.complete(report(), deadline=None)

    assert refused.value.reason == expected
    assert gateway.record.asked == []


async def test_a_release_frees_the_probe_only_if_the_call_never_left() -> None:
    gateway = Gateway()
    name = CallName(org="acme", call_id=CALL_ID, permit=PERMIT)
    states = iter(
        (admission_pb2.RESERVATION_STATE_RELEASED, admission_pb2.RESERVATION_STATE_SETTLED)
    )
    gateway.release = Method(
        lambda key: admission_pb2.EndResult(ended=admission_pb2.Ended(state=next(states)))
    )
    await gateway.completions.release(name, deadline=None)
    await gateway.completions.release(name, deadline=None)
    gateway.release = Method(
        lambda key: admission_pb2.EndResult(error=call_pb2.CallError(code=3, reason="OTHER"))
    )

    with pytest.raises(ServiceError, match=r"^$"):
        await gateway.completions.release(name, deadline=None)

    (heard,) = await gateway.hear()
    assert heard.outcome == call_pb2.CALL_OUTCOME_ABORTED
