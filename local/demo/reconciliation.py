"""Compares the provider's bill with what Headgate booked, call by call. Pure.

Two independent books of one run: the bill, and the journal of what Headgate acknowledged. They
may differ for two causes only, and each difference is named:

- *unreported*: nobody told Headgate what the call used, so its hold was charged;
- *cancelled mid-stream*: the caller hung up and reported what it had seen; the provider bills what
  it had generated.

A reported call must agree to the nano-dollar, a released one must not be on the bill at all.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime


class Ending(enum.Enum):
    """What Headgate knows of how a call ended."""

    # Reported with its usage, or as failed without any.
    REPORTED = "reported"
    # Reported as aborted, with the usage seen so far.
    CANCELLED = "cancelled mid-stream"
    # Ended without usage (charged at the hold), or never ended (expired at the hold).
    UNREPORTED = "unreported"
    # Released: it never left.
    RELEASED = "released"


# Causes for which the bill may differ from the books.
ALLOWED = frozenset({Ending.CANCELLED, Ending.UNREPORTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """One line of the provider's bill."""

    call_id: str
    nanos: int
    # True if the client went away before the end.
    cut: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """What Headgate charged for one admitted call."""

    call_id: str
    org: str
    operation: str
    provider: str
    # When it was admitted; decides the day in log and counters.
    admit_time: datetime
    ending: Ending
    nanos: int
    # True if it stands in the usage log; an expired hold is in the counters only.
    logged: bool

    @property
    def day(self) -> date:
        """Day in UTC to which the call is charged."""
        return self.admit_time.date()


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One call that the two books value differently."""

    booking: Booking
    billed_nanos: int

    @property
    def nanos(self) -> int:
        """How much more the provider bills than Headgate booked; negative: less."""
        return self.billed_nanos - self.booking.nanos


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Sums over all calls that ended in one way."""

    ending: Ending
    call_count: int
    billed_nanos: int
    booked_nanos: int

    @property
    def difference_nanos(self) -> int:
        """How much more was billed than booked."""
        return self.billed_nanos - self.booked_nanos


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """The outcome of a reconciliation."""

    lines: Sequence[Line]
    # Every call whose books differ, greatest first.
    differences: Sequence[Difference]
    # One sentence for each fact that no allowed cause explains. Empty: reconciled.
    violations: Sequence[str]

    @property
    def billed_nanos(self) -> int:
        """The bill's sum over the calls that are known."""
        return sum(line.billed_nanos for line in self.lines)

    @property
    def booked_nanos(self) -> int:
        """What Headgate booked."""
        return sum(line.booked_nanos for line in self.lines)


def reconcile(charges: Iterable[Charge], bookings: Sequence[Booking]) -> Statement:
    """Compares the two books."""
    bill = list(charges)
    billed: Counter[str] = Counter()
    for charge in bill:
        billed[charge.call_id] += charge.nanos
    differences = [
        Difference(booking=booking, billed_nanos=billed[booking.call_id])
        for booking in bookings
        if billed[booking.call_id] != booking.nanos
    ]
    differences.sort(key=lambda difference: -abs(difference.nanos))
    return Statement(
        lines=[_sum(ending, bookings, billed) for ending in Ending],
        differences=differences,
        violations=[
            *_check_admissions(bill, bookings),
            *(_explain(each) for each in differences if each.booking.ending not in ALLOWED),
        ],
    )


def _sum(ending: Ending, bookings: Sequence[Booking], billed: Mapping[str, int]) -> Line:
    chosen = [booking for booking in bookings if booking.ending is ending]
    return Line(
        ending=ending,
        call_count=len(chosen),
        billed_nanos=sum(billed[booking.call_id] for booking in chosen),
        booked_nanos=sum(booking.nanos for booking in chosen),
    )


def _check_admissions(bill: Sequence[Charge], bookings: Sequence[Booking]) -> list[str]:
    """Every provider call needs an admission of its own."""
    admitted = {booking.call_id for booking in bookings}
    counts = Counter(charge.call_id for charge in bill)
    return [
        f"the provider billed call {call_id or '(without an id)'}, which was never admitted"
        for call_id in counts
        if call_id not in admitted
    ] + [
        f"the provider billed call {call_id} {count} times for one admission"
        for call_id, count in counts.items()
        if count > 1
    ]


def _explain(difference: Difference) -> str:
    booking = difference.booking
    return (
        f"{booking.ending.value} call {booking.call_id} of {booking.org} was billed"
        f" {difference.billed_nanos} but booked {booking.nanos} nano-dollars"
    )
