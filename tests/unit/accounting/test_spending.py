"""What has been spent, and what that makes of periods and budgets."""

from __future__ import annotations

import datetime as dt

import pytest

from services.accounting.domain.forecasts import HOUR
from services.accounting.domain.spending import day_of, month_of, read_spending

NOW = dt.datetime(2026, 11, 26, 12, 30, tzinfo=dt.UTC)
TODAY = day_of(NOW)


def steady(nanos: int, days: int = 30) -> dict[dt.datetime, int]:
    """The same in each hour up to now; half of the running one is over."""
    start = TODAY - dt.timedelta(days=days)
    hours = {start + place * HOUR: nanos for place in range(days * 24 + 12)}
    return hours | {NOW.replace(minute=0): nanos // 2}


def test_a_steady_spend_goes_on() -> None:
    spending = read_spending(steady(10), now=NOW)
    day = spending.forecast(TODAY, TODAY + dt.timedelta(days=1))
    assert day is not None

    assert day.spent_nanos == 125
    assert day.low_nanos == day.expected_nanos == day.high_nanos == 240
    assert (spending.last_day_nanos, spending.usual_day_nanos) == (240, 240)
    month, next_month = month_of(NOW)
    whole = spending.forecast(month, next_month)
    assert whole is not None
    assert whole.expected_nanos == 30 * 240


def test_who_knows_better_what_was_spent_is_believed() -> None:
    spending = read_spending(steady(10), now=NOW)
    day = spending.forecast(TODAY, TODAY + dt.timedelta(days=1), spent_nanos=1_000)
    assert day is not None

    assert (day.spent_nanos, day.expected_nanos) == (1_000, 1_115)


def test_what_was_spent_of_the_running_hour_beyond_the_usual_stays_spent() -> None:
    spending = read_spending(steady(10) | {NOW.replace(minute=0): 500}, now=NOW)
    day = spending.forecast(TODAY, TODAY + dt.timedelta(days=1))
    assert day is not None

    assert day.expected_nanos == day.spent_nanos == 620


@pytest.mark.parametrize(
    ("remaining", "end", "expected"),
    [
        (0, None, NOW),
        (-3, None, NOW),
        # Half of the running hour's ten are spent; twenty-five more need two hours and a half.
        (25, None, dt.datetime(2026, 11, 26, 15, tzinfo=dt.UTC)),
        (25, NOW + dt.timedelta(hours=2), None),
        (240 * 400, None, None),
    ],
)
def test_a_budget_runs_out_at_the_present_pace(
    remaining: int, end: dt.datetime | None, expected: dt.datetime | None
) -> None:
    assert read_spending(steady(10), now=NOW).exhaustion_time(remaining, end) == expected


@pytest.mark.parametrize("days", [0, 1])
def test_of_what_has_just_begun_nothing_is_said(days: int) -> None:
    spending = read_spending(steady(10, days) if days else {}, now=NOW)

    assert spending.forecast(TODAY, TODAY + dt.timedelta(days=1)) is None
    assert spending.exhaustion_time(5, None) is None
    assert spending.exhaustion_time(0, None) == NOW


def test_months_have_their_length() -> None:
    december = dt.datetime(2026, 12, 31, 23, tzinfo=dt.UTC)

    assert month_of(december) == (
        dt.datetime(2026, 12, 1, tzinfo=dt.UTC),
        dt.datetime(2027, 1, 1, tzinfo=dt.UTC),
    )
