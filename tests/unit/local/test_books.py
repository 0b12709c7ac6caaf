"""Usage log, rollups and counters: what a run must have added to each."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from local.demo.books import PLATFORM, Amounts, Books, Window, compare
from local.demo.reconciliation import Booking, Ending

DAY = date(2026, 11, 30)
NEXT_DAY = date(2026, 12, 1)
ORG = "demo-acme"
OTHER = "somebody"


def window(org: str, *, month: bool = False) -> Window:
    start = DAY.replace(day=1) if month else DAY
    return Window(org=org, start=start, end=NEXT_DAY)


def booking(nanos: int, *, day: date = DAY, logged: bool = True) -> Booking:
    return Booking(
        call_id=f"{day}-{nanos}",
        org=ORG,
        operation="demo-chat",
        provider="demo-openai",
        admit_time=datetime(day.year, day.month, day.day, 12, tzinfo=UTC),
        ending=Ending.REPORTED if logged else Ending.UNREPORTED,
        nanos=nanos,
        logged=logged,
    )


def books(
    *, log: int = 0, rollups: int = 0, counters: dict[Window, tuple[int, int]] | None = None
) -> Books:
    return Books(
        log={(DAY, ORG): log},
        rollups={(DAY, ORG): rollups},
        counters={
            each: Amounts(settled=settled, held=held)
            for each, (settled, held) in (counters or {}).items()
        },
    )


def failed(before: Books, after: Books, *bookings: Booking) -> list[tuple[str, int, int]]:
    return [
        (check.name, check.expected_nanos, check.found_nanos)
        for check in compare(before, after, bookings, orgs=[ORG])
        if not check.passed
    ]


BEFORE = books(log=1000, rollups=1000, counters={window(ORG): (1500, 0), window(PLATFORM): (9, 0)})


def after(log: int = 130, rollups: int = 130, org: int = 137, platform: int = 137) -> Books:
    """What a run of 100 and 30 in the log and 7 unreported adds."""
    return books(
        log=1000 + log,
        rollups=1000 + rollups,
        counters={window(ORG): (1500 + org, 0), window(PLATFORM): (9 + platform, 0)},
    )


RUN = booking(100), booking(30), booking(7, logged=False)


def test_books_that_agree_pass() -> None:
    assert failed(BEFORE, after(), *RUN) == []


@pytest.mark.parametrize("error", [-1, 1])
@pytest.mark.parametrize(
    ("field", "right", "names"),
    [
        # A log that differs from what was acknowledged differs from the rollups too.
        ("log", 130, ["usage log", "rollups"]),
        ("rollups", 130, ["rollups"]),
        ("org", 137, ["counter of demo-acme"]),
        ("platform", 137, ["counter of the platform"]),
    ],
)
def test_books_that_disagree_by_one_nano_fail(
    field: str, right: int, names: list[str], error: int
) -> None:
    found = failed(BEFORE, after(**{field: right + error}), *RUN)

    assert len(found) == len(names)
    for (name, _, _), start in zip(found, names, strict=True):
        assert name.startswith(start)


def test_an_unreported_call_is_in_the_counters_only() -> None:
    counters = {window(ORG): (7, 0), window(PLATFORM): (7, 0)}

    assert failed(books(), books(counters=counters), booking(7, logged=False)) == []
    assert len(failed(books(), books(log=7, counters=counters), booking(7))) == 1


def test_a_hold_that_expires_meanwhile_changes_nothing() -> None:
    before = books(counters={window(ORG): (0, 50), window(PLATFORM): (0, 50)})
    later = books(counters={window(ORG): (50, 0), window(PLATFORM): (50, 0)})

    assert failed(before, later) == []


def test_a_month_counts_all_its_days_and_a_day_only_its_own() -> None:
    day_before = DAY.replace(day=29)
    later = Books(
        log={(DAY, ORG): 5, (day_before, ORG): 3},
        rollups={(DAY, ORG): 5, (day_before, ORG): 3},
        counters={
            window(ORG): Amounts(settled=5, held=0),
            window(ORG, month=True): Amounts(settled=8, held=0),
        },
    )

    assert failed(books(), later, booking(5), booking(3, day=day_before)) == []


def test_a_counter_of_the_next_period_does_not_count_this_ones_calls() -> None:
    tomorrow = Window(org=ORG, start=NEXT_DAY, end=date(2026, 12, 2))
    later = books(log=5, rollups=5, counters={window(ORG): (5, 0), tomorrow: (5, 0)})

    assert failed(books(), later, booking(5)) == [
        (f"counter of {tomorrow}: grew by usage log and unreported", 0, 5)
    ]


def test_other_orgs_may_go_on_meanwhile() -> None:
    before = books(counters={window(PLATFORM): (40, 0), window(OTHER): (40, 0)})
    later = books(
        log=5,
        rollups=5,
        counters={window(PLATFORM): (57, 3), window(OTHER): (52, 3), window(ORG): (5, 0)},
    )

    assert failed(before, later, booking(5)) == []


def test_what_is_held_is_the_most_of_the_named_orgs() -> None:
    held = books(counters={window(ORG): (0, 3), window(ORG, month=True): (0, 4)})

    assert held.held([ORG]) == 4
    assert held.held([OTHER]) == 0


def test_a_counter_is_named_for_people() -> None:
    assert str(window(ORG)) == "demo-acme, day of 2026-11-30"
    assert str(window(PLATFORM, month=True)) == "the platform, month of 2026-11-01"
