"""The bill against the books: what agrees, what may differ, and what must not."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.demo.reconciliation import Booking, Charge, Ending, Statement, reconcile

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def booking(call_id: str, ending: Ending, nanos: int) -> Booking:
    return Booking(
        call_id=call_id,
        org="demo-acme",
        operation="demo-chat",
        provider="demo-openai",
        admit_time=NOON,
        ending=ending,
        nanos=nanos,
        logged=ending is not Ending.RELEASED,
    )


def charge(call_id: str, nanos: int) -> Charge:
    return Charge(call_id=call_id, nanos=nanos, cut=False)


def line(statement: Statement, ending: Ending) -> tuple[int, int, int, int]:
    (found,) = (each for each in statement.lines if each.ending is ending)
    return found.call_count, found.billed_nanos, found.booked_nanos, found.difference_nanos


def test_equal_books_reconcile() -> None:
    statement = reconcile(
        [charge("a", 7), charge("b", 0)],
        [booking("a", Ending.REPORTED, 7), booking("b", Ending.REPORTED, 0)],
    )

    assert (statement.billed_nanos, statement.booked_nanos) == (7, 7)
    assert statement.differences == []
    assert statement.violations == []


@pytest.mark.parametrize("billed", [99, 101])
def test_a_reported_call_that_differs_by_one_nano_fails(billed: int) -> None:
    statement = reconcile([charge("a", billed)], [booking("a", Ending.REPORTED, 100)])

    assert statement.violations == [
        f"reported call a of demo-acme was billed {billed} but booked 100 nano-dollars"
    ]
    assert [each.nanos for each in statement.differences] == [billed - 100]


def test_a_reported_call_that_the_provider_never_billed_fails() -> None:
    statement = reconcile([], [booking("a", Ending.REPORTED, 1)])

    assert len(statement.violations) == 1


@pytest.mark.parametrize("ending", [Ending.CANCELLED, Ending.UNREPORTED])
def test_the_two_allowed_causes_may_differ_and_are_named(ending: Ending) -> None:
    statement = reconcile([charge("a", 30)], [booking("a", ending, 100)])

    assert statement.violations == []
    assert [(each.booking.ending, each.nanos) for each in statement.differences] == [(ending, -70)]
    assert line(statement, ending) == (1, 30, 100, -70)


def test_a_released_call_must_not_be_on_the_bill() -> None:
    statement = reconcile([charge("a", 5)], [booking("a", Ending.RELEASED, 0)])

    assert statement.violations == [
        "released call a of demo-acme was billed 5 but booked 0 nano-dollars"
    ]


def test_a_call_that_was_never_admitted_must_not_be_on_the_bill() -> None:
    statement = reconcile([charge("a", 0), charge("", 5)], [])

    assert statement.violations == [
        "the provider billed call a, which was never admitted",
        "the provider billed call (without an id), which was never admitted",
    ]


def test_one_admission_is_good_for_one_provider_call() -> None:
    statement = reconcile([charge("a", 5), charge("a", 0)], [booking("a", Ending.UNREPORTED, 5)])

    assert statement.violations == ["the provider billed call a 2 times for one admission"]


def test_the_greatest_difference_comes_first() -> None:
    statement = reconcile(
        [charge("a", 1), charge("b", 50), charge("c", 0)],
        [booking(call_id, Ending.CANCELLED, 10) for call_id in "abc"],
    )

    assert [each.booking.call_id for each in statement.differences] == ["b", "c", "a"]


@given(
    st.dictionaries(
        st.uuids().map(str),
        st.tuples(st.sampled_from(Ending), st.integers(0, 10**12), st.integers(0, 10**12)),
    )
)
def test_the_lines_and_the_differences_explain_the_whole_bill(
    calls: dict[str, tuple[Ending, int, int]],
) -> None:
    bookings = [booking(call_id, ending, booked) for call_id, (ending, booked, _) in calls.items()]
    statement = reconcile(
        [charge(call_id, billed) for call_id, (_, _, billed) in calls.items()], bookings
    )

    assert statement.billed_nanos == sum(billed for _, _, billed in calls.values())
    assert statement.booked_nanos == sum(booked for _, booked, _ in calls.values())
    assert statement.billed_nanos - statement.booked_nanos == sum(
        each.nanos for each in statement.differences
    )
    assert len(statement.violations) == sum(
        ending in (Ending.REPORTED, Ending.RELEASED) and booked != billed
        for ending, booked, billed in calls.values()
    )
