"""The end of the demo: any one thing that does not hold makes it fail, by name."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from rich.console import Console

from local.demo.acts import Act
from local.demo.books import Check
from local.demo.outcome import Outcome
from local.demo.reconciliation import Booking, Charge, Ending, reconcile
from local.demo.tally import Tally


def booking(call_id: str, ending: Ending, nanos: int) -> Booking:
    return Booking(
        call_id=call_id,
        org="demo-acme",
        operation="demo-chat",
        provider="demo-openai",
        admit_time=datetime(2026, 11, 21, 12, tzinfo=UTC),
        ending=ending,
        nanos=nanos,
        logged=True,
    )


BOOKINGS = [booking("a", Ending.REPORTED, 2_000), booking("b", Ending.UNREPORTED, 900)]
STATEMENT = reconcile(
    [
        Charge(call_id="a", nanos=2_000, cut=False),
        Charge(call_id="b", nanos=400, cut=True),
    ],
    BOOKINGS,
)


def outcome(**changes: Any) -> Outcome:
    tally = Tally()
    tally.org("demo-acme").denied["fenced"] = 2
    facts: dict[str, Any] = {
        "acts": [Act(name="limit", passed=True, story="it denied")],
        "statement": STATEMENT,
        "checks": [Check(name="usage log", expected_nanos=5, found_nanos=5)],
        "violations": [],
        "tally": tally,
        "seconds": 12.34,
    }
    return Outcome(**facts | changes)


def test_a_run_in_which_all_holds_is_reconciled() -> None:
    assert outcome().reconciled


@pytest.mark.parametrize(
    ("changes", "failure"),
    [
        ({"acts": [Act(name="limit", passed=False, story="unnoticed")]}, "limit: unnoticed"),
        (
            {"statement": reconcile([], BOOKINGS[:1])},
            "reported call a of demo-acme was billed 0 but booked 2000 nano-dollars",
        ),
        (
            {"checks": [Check(name="usage log", expected_nanos=5, found_nanos=6)]},
            "usage log: 5 nano-dollars expected, 6 found",
        ),
        ({"violations": ["a completion was lost"]}, "a completion was lost"),
    ],
)
def test_one_thing_that_does_not_hold_fails_the_run(changes: dict[str, Any], failure: str) -> None:
    failing = outcome(**changes)

    assert list(failing.failures()) == [failure]
    assert not failing.reconciled
    assert json.loads(failing.to_json())["reconciled"] is False
    assert failure in printed(failing)
    assert "Does not reconcile." in printed(failing)


def printed(shown: Outcome) -> str:
    console = Console(file=io.StringIO(), width=120)
    shown.print(console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_people_see_both_books_and_each_difference_with_its_cause() -> None:
    text = printed(outcome())

    assert "$0.0000024" in text
    assert "$0.0000029" in text
    assert "-$0.0000005  unreported  demo-acme  demo-chat  b" in text
    assert "1 of 1 equalities hold" in text
    assert "Reconciled, to the nano-dollar. The demo took 12 s." in text


def test_programs_get_the_same_as_json() -> None:
    facts = json.loads(outcome().to_json())

    assert facts["reconciled"] is True
    assert (facts["billed_nanos"], facts["booked_nanos"]) == (2_400, 2_900)
    assert facts["lines"][2] == {
        "ending": "unreported",
        "call_count": 1,
        "billed_nanos": 400,
        "booked_nanos": 900,
        "difference_nanos": -500,
    }
    assert facts["differences"] == [
        {"call_id": "b", "org": "demo-acme", "cause": "unreported", "nanos": -500}
    ]
    assert facts["orgs"]["demo-acme"]["denied"] == {"fenced": 2}
