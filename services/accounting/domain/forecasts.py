"""Forecasts of spend: what a series of hours will add up to, with an interval of 80 %.

A series has a usual shape over the hours of a week and a level. The shape is a mean over the weeks
that leaves the extremes out, and so is the level, over what the last days were worth of their
shape: one spike changes nothing. The interval comes from how far such forecasts were off on the
days that are known: they are drawn again and again for the days to come, so that spikes and empty
days count as often as they came.
"""

from __future__ import annotations

import datetime as dt
import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

HOURS_PER_DAY: Final = 24
HOURS_PER_WEEK: Final = 7 * HOURS_PER_DAY
HOUR: Final = dt.timedelta(hours=1)
# Older hours say nothing about the weeks to come.
HISTORY_HOURS_MAX: Final = 13 * HOURS_PER_WEEK
# With fewer whole days nothing can be said of a usual day.
HISTORY_DAYS_MIN: Final = 2
# Days whose worth makes the level, and days whose errors make the interval.
LEVEL_DAYS: Final = 21
ERROR_DAYS: Final = 56
DRAW_COUNT: Final = 400
# The interval's ends: in one of ten cases it is below, in one above.
LOW: Final = 0.1
HIGH: Final = 0.9
# How much the interval is widened for one period that made the shape, and after how many days by
# half of that.
WIDENING: Final = 10.0
WIDENING_DAYS: Final = 7
# Part of the weeks that the shape leaves out at either end.
SHAPE_TRIM: Final = 0.1
# From so many values on the least and the greatest are left out.
TRIM_COUNT_MIN: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """What was spent in each whole hour, oldest first, in UTC; hours without calls are 0."""

    start_time: dt.datetime
    values: Sequence[int]

    @property
    def end_time(self) -> dt.datetime:
        """First instant after the last hour."""
        return self.start_time + len(self.values) * HOUR


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What will be spent from the end of a series on, in nano-US-dollars."""

    low_nanos: int
    expected_nanos: int
    high_nanos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A fitted series."""

    series: Series
    # Usual spend of each hour of a week from Monday 00:00 on.
    shape: tuple[float, ...]
    # What the last days were worth of their shape.
    level: float
    # By how much the interval is wider than what was seen, at most: the shape is made from what
    # it is compared with, the more so the fewer periods there were.
    widening: float

    def expect(self, until: dt.datetime) -> list[float]:
        """Returns what each hour from the series' end on is expected to cost; the last is cut."""
        hours: list[float] = []
        start = self.series.end_time
        while start < until:
            part = min((until - start) / HOUR, 1.0)
            hours.append(self.level * self.shape[_hour_of_week(start)] * part)
            start += HOUR
        return hours

    def forecast(self, until: dt.datetime) -> Forecast:
        """Returns what will be spent from the series' end on."""
        hours = self.expect(until)
        whole = len(hours) // HOURS_PER_DAY * HOURS_PER_DAY
        days = [
            sum(hours[place : place + HOURS_PER_DAY]) for place in range(0, whole, HOURS_PER_DAY)
        ]
        rest = hours[whole:]
        expected = sum(hours)
        # An error of the shape is the same each week: it weighs the more the longer one looks.
        widening = 1 + self.widening * len(days) / (len(days) + WIDENING_DAYS)
        draws = sorted(self._draw_sums(days, sum(rest), len(rest)))
        low, high = (draws[round(share * (len(draws) - 1))] for share in (LOW, HIGH))
        return Forecast(
            low_nanos=round(max(expected - widening * max(expected - low, 0.0), 0.0)),
            expected_nanos=round(expected),
            high_nanos=round(expected + widening * max(high - expected, 0.0)),
        )

    def exhaustion_time(self, remaining_nanos: int, until: dt.datetime) -> dt.datetime | None:
        """Returns when so much will have been spent, most likely; None: not until then."""
        if remaining_nanos <= 0:
            return self.series.end_time
        spent = 0.0
        for place, hour in enumerate(self.expect(until)):
            if hour > 0 and spent + hour >= remaining_nanos:
                start = self.series.end_time + place * HOUR
                return min(start + HOUR * ((remaining_nanos - spent) / hour), until)
            spent += hour
        return None

    def _draw_sums(self, days: Sequence[float], rest: float, rest_hours: int) -> list[float]:
        """Sums of days and the rest of one, each by an error that was, all by one of the level.

        The draws are the same each time: who asks twice gets the same answer.
        """
        source = random.Random(0)  # noqa: S311 - nothing secret hangs on it
        errors = _errors(_worths(self.series, self.shape, HOURS_PER_DAY))
        # A few hours are further off than a day.
        rest_errors = (
            _errors(_worths(self.series, self.shape, rest_hours)) if rest_hours else (1.0,)
        )
        sums: list[float] = []
        for _ in range(DRAW_COUNT):
            level = _level(source.choices(errors, k=min(len(errors), LEVEL_DAYS)))
            drawn = sum(day * source.choice(errors) for day in days)
            # The last error holds the level's already.
            sums.append(level * drawn + rest * source.choice(rest_errors))
        return sums


def fit(series: Series) -> Model | None:
    """Fits a series; None if it is too short to know a usual day."""
    values = series.values[-HISTORY_HOURS_MAX:]
    if len(values) < HISTORY_DAYS_MIN * HOURS_PER_DAY:
        return None
    recent = Series(start_time=series.end_time - len(values) * HOUR, values=values)
    # With less than two weeks all days are one: a week that came once is no rule.
    is_weekly = len(values) >= 2 * HOURS_PER_WEEK
    period = HOURS_PER_WEEK if is_weekly else HOURS_PER_DAY
    shape = _fit_shape(recent, period)
    worths = _worths(recent, shape, HOURS_PER_DAY)
    return Model(
        series=recent,
        shape=tuple(shape),
        level=_level(worths) if worths else 1.0,
        widening=WIDENING * period / len(values),
    )


def _fit_shape(series: Series, period: int) -> list[float]:
    """Returns the usual spend of each hour of a week, which repeats after `period` hours."""
    groups: list[list[int]] = [[] for _ in range(period)]
    first = _hour_of_week(series.start_time)
    for place, value in enumerate(series.values):
        groups[(first + place) % period].append(value)
    usual = [_trimmed_mean(group, share=SHAPE_TRIM) for group in groups]
    return [usual[hour % period] for hour in range(HOURS_PER_WEEK)]


def _trimmed_mean(values: Sequence[float], *, share: float) -> float:
    """The mean without a share of the least and of the greatest, at least one of each."""
    if len(values) < TRIM_COUNT_MIN:
        return statistics.median(values)
    cut = max(1, int(len(values) * share))
    return statistics.fmean(sorted(values)[cut:-cut])


def _worths(series: Series, shape: Sequence[float], hour_count: int) -> list[float]:
    """What so many hours of each day, as after the series' end, were worth of their shape.

    Oldest first; hours that are usually empty are worth nothing that can be told.
    """
    first = _hour_of_week(series.start_time)
    worths: list[float] = []
    for start in range(len(series.values) % HOURS_PER_DAY, len(series.values), HOURS_PER_DAY):
        hours = range(start, start + hour_count)
        usual = sum(shape[(first + hour) % HOURS_PER_WEEK] for hour in hours)
        if usual > 0:
            worths.append(sum(series.values[hour] for hour in hours) / usual)
    return worths


def _level(worths: Sequence[float]) -> float:
    """What the last days were worth, without the least and the greatest."""
    return _trimmed_mean(worths[-LEVEL_DAYS:], share=0.0)


def _errors(worths: Sequence[float]) -> tuple[float, ...]:
    """What days were worth of the level that was known before them."""
    places = range(max(1, len(worths) - ERROR_DAYS), len(worths))
    levels = ((place, _level(worths[:place])) for place in places)
    return tuple(worths[place] / level for place, level in levels if level > 0) or (1.0,)


def _hour_of_week(instant: dt.datetime) -> int:
    return instant.weekday() * HOURS_PER_DAY + instant.hour
