"""Forecasts, tested on generated series whose future is known."""

from __future__ import annotations

import datetime as dt
import math
import random
from dataclasses import dataclass
from functools import cache

import pytest

from services.accounting.domain.forecasts import (
    HISTORY_DAYS_MIN,
    HOUR,
    HOURS_PER_DAY,
    HOURS_PER_WEEK,
    Series,
    fit,
)

START = dt.datetime(2026, 8, 3, tzinfo=dt.UTC)
HISTORY_HOURS = 90 * HOURS_PER_DAY
# From an afternoon to midnight; and to the end of a month.
HORIZONS = {"day": 10, "month": 20 * HOURS_PER_DAY + 10}
SEEDS = range(16)
KINDS = ("plain", "zeros", "spikes", "one spike", "nights off")


@cache
def generate(kind: str, seed: int) -> list[int]:
    """90 days of hours and a month that follows: seasons of the day and the week, and noise."""
    source = random.Random(f"{kind}-{seed}")
    base = source.choice([1e7, 1e9, 1e11])
    swing, weekend = source.uniform(0.3, 0.9), source.uniform(0.1, 1.0)
    phase, noise = source.uniform(0, 24), source.uniform(0.1, 0.4)
    day_noise, of_day = source.uniform(0.05, 0.25), 1.0
    values = []
    for place in range(HISTORY_HOURS + 31 * HOURS_PER_DAY):
        time = START + place * HOUR
        if time.hour == 0:
            of_day = source.lognormvariate(0, day_noise)
        value = base * (1 + swing * math.sin((time.hour - phase) / 24 * 2 * math.pi))
        value *= (weekend if time.weekday() >= 5 else 1.0) * of_day
        value *= source.lognormvariate(0, noise)
        if kind == "zeros" and source.random() < 0.5:
            value = 0
        if kind == "spikes" and source.random() < 1 / 200:
            value *= 20
        if kind == "nights off" and (time.hour < 7 or time.weekday() >= 5):
            value = 0
        values.append(round(value))
    if kind == "one spike":
        values[80 * HOURS_PER_DAY + 12] *= 500
    return values


@dataclass(frozen=True, slots=True)
class Score:
    """How one forecast went, in parts of what was to be forecast."""

    is_covered: bool
    error: float
    naive_error: float


@cache
def back_test(kind: str, horizon: str) -> list[Score]:
    scores = []
    hours = HORIZONS[horizon]
    for seed in SEEDS:
        values = generate(kind, seed)
        for days_on in (0, 4):
            now = HISTORY_HOURS + days_on * HOURS_PER_DAY - 10
            first = now - HISTORY_HOURS + 10
            model = fit(Series(start_time=START + first * HOUR, values=values[first:now]))
            assert model is not None
            forecast = model.forecast(START + (now + hours) * HOUR)
            actual = sum(values[now : now + hours])
            naive = sum(
                values[now - HOURS_PER_WEEK + hour % HOURS_PER_WEEK] for hour in range(hours)
            )
            scale = sum(values) / len(values) * hours
            scores.append(
                Score(
                    forecast.low_nanos <= actual <= forecast.high_nanos,
                    abs(forecast.expected_nanos - actual) / scale,
                    abs(naive - actual) / scale,
                )
            )
    return scores


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


@pytest.mark.parametrize("horizon", HORIZONS)
def test_the_interval_holds_what_comes_in_eight_of_ten_cases(horizon: str) -> None:
    scores = [score for kind in KINDS for score in back_test(kind, horizon)]

    assert 0.7 <= mean([float(score.is_covered) for score in scores]) <= 0.9


@pytest.mark.parametrize("horizon", HORIZONS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_forecast_is_nearer_than_last_week_would_be(kind: str, horizon: str) -> None:
    scores = back_test(kind, horizon)

    assert mean([each.error for each in scores]) < mean([each.naive_error for each in scores])


def steady(days: int, nanos: int = 240) -> Series:
    """The same in each hour."""
    return Series(start_time=START, values=[nanos // HOURS_PER_DAY] * days * HOURS_PER_DAY)


def test_one_spike_moves_nothing() -> None:
    calm = steady(30)
    spiked = list(calm.values)
    spiked[20 * HOURS_PER_DAY + 3] = 10**12
    models = [fit(calm), fit(Series(start_time=START, values=spiked))]
    until = calm.end_time + dt.timedelta(days=7)

    first, second = (model.forecast(until) for model in models if model is not None)
    assert first.expected_nanos == second.expected_nanos == 7 * 240


def test_of_a_steady_series_all_is_known() -> None:
    model = fit(steady(30))
    assert model is not None
    forecast = model.forecast(model.series.end_time + dt.timedelta(hours=36))

    assert (forecast.low_nanos, forecast.expected_nanos, forecast.high_nanos) == (360, 360, 360)
    assert model.forecast(model.series.end_time).high_nanos == 0


@pytest.mark.parametrize("values", [[], [5] * (HISTORY_DAYS_MIN * HOURS_PER_DAY - 1)])
def test_what_is_too_short_is_not_forecast(values: list[int]) -> None:
    assert fit(Series(start_time=START, values=values)) is None


@pytest.mark.parametrize("days", [HISTORY_DAYS_MIN, 5, 13, 14, 200])
def test_any_longer_series_is_forecast_in_order(days: int) -> None:
    values = generate("plain", 1)[: days * HOURS_PER_DAY] or [0]
    model = fit(Series(start_time=START, values=(values * 3)[: days * HOURS_PER_DAY]))
    assert model is not None
    forecast = model.forecast(model.series.end_time + dt.timedelta(days=9, hours=5, minutes=30))

    assert 0 <= forecast.low_nanos <= forecast.expected_nanos <= forecast.high_nanos
    assert forecast == model.forecast(
        model.series.end_time + dt.timedelta(days=9, hours=5, minutes=30)
    )


def test_nothing_comes_of_nothing() -> None:
    model = fit(steady(30, nanos=0))
    assert model is not None
    until = model.series.end_time + dt.timedelta(days=30)
    forecast = model.forecast(until)

    assert (forecast.low_nanos, forecast.expected_nanos, forecast.high_nanos) == (0, 0, 0)
    assert model.exhaustion_time(1, until) is None


def test_a_series_that_has_just_stopped_is_expected_to_stay_away() -> None:
    values = [*steady(30).values, *[0] * 20 * HOURS_PER_DAY]
    model = fit(Series(start_time=START, values=values))
    assert model is not None

    assert model.forecast(model.series.end_time + dt.timedelta(days=1)).expected_nanos == 0


@pytest.mark.parametrize(
    ("remaining", "expected"),
    [
        (-5, dt.timedelta()),
        (0, dt.timedelta()),
        (10, dt.timedelta(hours=1)),
        (25, dt.timedelta(hours=2, minutes=30)),
        (240 * 2, dt.timedelta(days=2)),
        (240 * 2 + 1, None),
    ],
)
def test_a_budget_is_exhausted_when_its_rest_is_spent(
    remaining: int, expected: dt.timedelta | None
) -> None:
    model = fit(steady(30))
    assert model is not None
    end = model.series.end_time
    found = model.exhaustion_time(remaining, end + dt.timedelta(days=2))

    assert found == (None if expected is None else end + expected)
