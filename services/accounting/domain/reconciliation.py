"""Compares a provider's bill with the books, by day and model."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

# Differences are told in parts of this.
BASIS_POINTS: Final = 10_000
TOLERANCE_DEFAULT: Final = 100

# A day and a model; the model is empty if the bill does not split by it.
Place: TypeAlias = tuple[dt.date, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """What the books say of one day and model."""

    cost_nanos: int
    # The part of it that was charged at holds.
    unreported_nanos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """How bill and books compare for one day and model, or over all of them."""

    # None: over the whole bill.
    place: Place | None
    billed_nanos: int
    booked_nanos: int
    unreported_nanos: int
    tolerance: int

    @property
    def difference_nanos(self) -> int:
        """Booked less billed."""
        return self.booked_nanos - self.billed_nanos

    @property
    def basis_points(self) -> int | None:
        """The difference in parts of ten thousand of the bill. None: nothing was billed."""
        if not self.billed_nanos:
            return None
        doubled = 2 * self.difference_nanos * BASIS_POINTS + abs(self.billed_nanos)
        return doubled // (2 * abs(self.billed_nanos))

    @property
    def exceeds(self) -> bool:
        """Whether it differs by more than the tolerance."""
        allowed = abs(self.billed_nanos) * self.tolerance
        return abs(self.difference_nanos) * BASIS_POINTS > allowed


def compare(
    billed: Iterable[tuple[Place, int]], booked: Mapping[Place, Booked], *, tolerance: int
) -> tuple[list[Deviation], Deviation]:
    """Returns the comparison by day and model, sorted, and over the whole bill.

    Lines of one place are added. A day that the bill does not split by model is compared whole.
    """
    lines: dict[Place, int] = {}
    for place, nanos in billed:
        lines[place] = lines.get(place, 0) + nanos
    whole_days = {day for day, model in lines if not model}
    books: dict[Place, Booked] = {}
    for (day, model), found in booked.items():
        place = (day, "" if day in whole_days else model)
        books[place] = _add(books.get(place, _NOTHING), found)
    for day, model in list(lines):
        if model and day in whole_days:
            # The day's other lines have no model: together they are the day.
            lines[day, ""] += lines.pop((day, model))
    deviations = [
        Deviation(
            place=place,
            billed_nanos=lines.get(place, 0),
            booked_nanos=books.get(place, _NOTHING).cost_nanos,
            unreported_nanos=books.get(place, _NOTHING).unreported_nanos,
            tolerance=tolerance,
        )
        for place in sorted(lines.keys() | books.keys())
    ]
    total = Deviation(
        place=None,
        billed_nanos=sum(each.billed_nanos for each in deviations),
        booked_nanos=sum(each.booked_nanos for each in deviations),
        unreported_nanos=sum(each.unreported_nanos for each in deviations),
        tolerance=tolerance,
    )
    return deviations, total


_NOTHING: Final = Booked(cost_nanos=0, unreported_nanos=0)


def _add(left: Booked, right: Booked) -> Booked:
    return Booked(
        cost_nanos=left.cost_nanos + right.cost_nanos,
        unreported_nanos=left.unreported_nanos + right.unreported_nanos,
    )
