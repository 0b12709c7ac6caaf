"""Headgate's own books before and after a run: usage log, rollups and counters. Pure.

A run is compared by what it added, because data stay between runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from local.demo.reconciliation import Booking

# The platform's counters carry no org.
PLATFORM = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One cost counter in UTC."""

    # Org, or PLATFORM.
    org: str
    # First day, and first day after the window.
    start: date
    end: date

    def __str__(self) -> str:
        """Names the counter for people."""
        length = "day" if (self.end - self.start).days == 1 else "month"
        return f"{self.org or 'the platform'}, {length} of {self.start}"

    def covers(self, day: date) -> bool:
        """Tells whether calls of that day are counted here."""
        return self.start <= day < self.end


@dataclass(frozen=True, slots=True, kw_only=True)
class Amounts:
    """What one counter holds, in nano-US-dollars."""

    settled: int
    held: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """One reading of all books, in nano-US-dollars."""

    # Cost by (day, org), from the usage log and from the rollups.
    log: Mapping[tuple[date, str], int]
    rollups: Mapping[tuple[date, str], int]
    counters: Mapping[Window, Amounts]

    def total(self, window: Window) -> int:
        """Settled and held together: an older hold that expires meanwhile does not change it."""
        amounts = self.counters.get(window)
        return amounts.settled + amounts.held if amounts else 0

    def held(self, orgs: Collection[str]) -> int:
        """The most that any counter of these orgs holds."""
        return max(
            (at.held for window, at in self.counters.items() if window.org in orgs), default=0
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One equality that must hold to the nano-dollar."""

    name: str
    expected_nanos: int
    found_nanos: int

    @property
    def passed(self) -> bool:
        """Whether it holds."""
        return self.expected_nanos == self.found_nanos


def compare(
    before: Books, after: Books, bookings: Sequence[Booking], *, orgs: Collection[str]
) -> list[Check]:
    """Checks that a run's acknowledged bookings, log, rollups and counters agree.

    Calls of other orgs may go on meanwhile; calls of `orgs` outside the run may not. A calendar
    window outside UTC is not compared.
    """
    logged: Counter[tuple[date, str]] = Counter()
    charged: Counter[tuple[date, str]] = Counter()
    for booking in bookings:
        charged[booking.day, booking.org] += booking.nanos
        if booking.logged:
            logged[booking.day, booking.org] += booking.nanos
    return [
        *_compare_log(before, after, logged),
        *_compare_counters(before, after, charged, orgs),
    ]


def _compare_log(
    before: Books, after: Books, logged: Mapping[tuple[date, str], int]
) -> list[Check]:
    checks = []
    for day, org in sorted(logged):
        key = day, org
        checks += [
            Check(
                name=f"usage log of {org} on {day}: grew by what was acknowledged",
                expected_nanos=logged[key],
                found_nanos=after.log.get(key, 0) - before.log.get(key, 0),
            ),
            Check(
                name=f"rollups of {org} on {day}: equal the usage log",
                expected_nanos=after.log.get(key, 0),
                found_nanos=after.rollups.get(key, 0),
            ),
        ]
    return checks


def _compare_counters(
    before: Books,
    after: Books,
    charged: Mapping[tuple[date, str], int],
    orgs: Collection[str],
) -> list[Check]:
    checks = []
    for window in sorted(after.counters, key=lambda each: (each.org, each.start, each.end)):
        if window.org not in orgs and window.org != PLATFORM:
            continue
        # What others used meanwhile is on their own counters of the same window.
        others = sum(
            after.total(other) - before.total(other)
            for other in after.counters
            if window.org == PLATFORM
            and other.org != PLATFORM
            and other.org not in orgs
            and (other.start, other.end) == (window.start, window.end)
        )
        expected = sum(
            nanos
            for (day, org), nanos in charged.items()
            if window.covers(day) and window.org in (org, PLATFORM)
        )
        checks.append(
            Check(
                name=f"counter of {window}: grew by usage log and unreported",
                expected_nanos=expected,
                found_nanos=after.total(window) - before.total(window) - others,
            )
        )
    return checks
