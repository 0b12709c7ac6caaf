"""Bill and books are compared by day and model, to the nano-dollar."""

from __future__ import annotations

import datetime as dt

import pytest

from services.accounting.domain.reconciliation import Booked, Deviation, compare

ONE, TWO = dt.date(2026, 10, 1), dt.date(2026, 10, 2)


def booked(nanos: int, unreported: int = 0) -> Booked:
    return Booked(cost_nanos=nanos, unreported_nanos=unreported)


def test_lines_of_one_day_and_model_are_added() -> None:
    deviations, total = compare(
        [((ONE, "m"), 60), ((ONE, "m"), 40), ((TWO, "m"), 50)],
        {(ONE, "m"): booked(99, 9), (TWO, "m"): booked(50)},
        tolerance=100,
    )

    assert [(each.place, each.difference_nanos, each.exceeds) for each in deviations] == [
        ((ONE, "m"), -1, False),
        ((TWO, "m"), 0, False),
    ]
    assert (total.place, total.billed_nanos, total.booked_nanos) == (None, 150, 149)
    assert total.unreported_nanos == 9


def test_what_only_one_of_them_has_is_a_difference() -> None:
    deviations, _ = compare([((ONE, "billed"), 5)], {(ONE, "booked"): booked(7)}, tolerance=100)

    assert [(each.place, each.basis_points, each.exceeds) for each in deviations] == [
        ((ONE, "billed"), -10_000, True),
        ((ONE, "booked"), None, True),
    ]


def test_a_day_that_the_bill_does_not_split_is_compared_whole() -> None:
    deviations, _ = compare(
        [((ONE, ""), 30), ((ONE, "a"), 10), ((TWO, "a"), 1)],
        {(ONE, "a"): booked(15, 1), (ONE, "b"): booked(25, 2), (TWO, "a"): booked(1)},
        tolerance=100,
    )

    assert [(each.place, each.difference_nanos, each.unreported_nanos) for each in deviations] == [
        ((ONE, ""), 0, 3),
        ((TWO, "a"), 0, 0),
    ]


@pytest.mark.parametrize(
    ("billed", "books", "points", "exceeds"),
    [
        (10_000, 10_100, 100, False),
        (10_000, 10_101, 101, True),
        (10_000, 9_899, -101, True),
        (20_000, 20_001, 1, False),
        (-10_000, -10_200, -200, True),
        (0, 0, None, False),
        (0, 1, None, True),
    ],
)
def test_one_percent_is_all_right_and_more_is_not(
    billed: int, books: int, points: int | None, exceeds: bool
) -> None:
    deviation = Deviation(
        place=None, billed_nanos=billed, booked_nanos=books, unreported_nanos=0, tolerance=100
    )

    assert (deviation.basis_points, deviation.exceeds) == (points, exceeds)
