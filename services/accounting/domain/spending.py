"""What has been spent, hour by hour, and what that makes of the periods that are running."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.accounting.domain.forecasts import HOUR, HOURS_PER_DAY, Model, Series, fit

DAYS_PER_WEEK: Final = 7
# Nobody looks further.
OUTLOOK: Final = dt.timedelta(days=366)


@dataclass(frozen=True, slots=True, kw_only=True)
class PeriodForecast:
    """What will have been spent at the end of a period."""

    start_time: dt.datetime
    end_time: dt.datetime
    spent_nanos: int
    low_nanos: int
    expected_nanos: int
    high_nanos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """Spend by hours, and what is to be expected. Instants are UTC's."""

    now: dt.datetime
    # By the first instant of each hour, sparse; the running one too.
    hours: Mapping[dt.datetime, int]
    # None: too little is known.
    model: Model | None

    def forecast(
        self, start: dt.datetime, end: dt.datetime, *, spent_nanos: int | None = None
    ) -> PeriodForecast | None:
        """Returns what will have been spent at the end of a running period; None: nobody knows.

        `spent_nanos` is what has been spent in it so far, if somebody knows better.
        """
        if self.model is None:
            return None
        spent = self.spent_since(start) if spent_nanos is None else spent_nanos
        # The hour that runs is forecast as a whole: what is spent of it is no news.
        running = self.hours.get(_hour_of(self.now), 0)
        rest = self.model.forecast(end)

        def reach(nanos: int) -> int:
            return spent + max(nanos - running, 0)

        return PeriodForecast(
            start_time=start,
            end_time=end,
            spent_nanos=spent,
            low_nanos=reach(rest.low_nanos),
            expected_nanos=reach(rest.expected_nanos),
            high_nanos=reach(rest.high_nanos),
        )

    def exhaustion_time(self, remaining_nanos: int, end: dt.datetime | None) -> dt.datetime | None:
        """Returns when so much more will have been spent, most likely; None: not until the end."""
        if remaining_nanos <= 0:
            return self.now
        if self.model is None:
            return None
        running = self.hours.get(_hour_of(self.now), 0)
        until = min(end, self.now + OUTLOOK) if end is not None else self.now + OUTLOOK
        found = self.model.exhaustion_time(remaining_nanos + running, until)
        return None if found is None else max(found, self.now)

    def spent_since(self, start: dt.datetime) -> int:
        """Returns what has been spent in the hours from an instant on."""
        return sum(nanos for hour, nanos in self.hours.items() if hour >= start)

    @property
    def last_day_nanos(self) -> int:
        """Spent in the last 24 whole hours."""
        end = _hour_of(self.now)
        return self._between(end - HOURS_PER_DAY * HOUR, end)

    @property
    def usual_day_nanos(self) -> int:
        """Spent on a day of the last seven whole ones, in the mean."""
        end = day_of(self.now)
        return self._between(end - dt.timedelta(days=DAYS_PER_WEEK), end) // DAYS_PER_WEEK

    def _between(self, start: dt.datetime, end: dt.datetime) -> int:
        return sum(nanos for hour, nanos in self.hours.items() if start <= hour < end)


def read_spending(hours: Mapping[dt.datetime, int], *, now: dt.datetime) -> Spending:
    """Returns the spending that these hours show: the model is fitted to all whole ones."""
    end = _hour_of(now)
    whole = [hour for hour, nanos in hours.items() if hour < end and nanos]
    model = None
    if whole:
        start = min(whole)
        count = (end - start) // HOUR
        values = [hours.get(start + place * HOUR, 0) for place in range(count)]
        model = fit(Series(start_time=start, values=values))
    return Spending(now=now, hours=hours, model=model)


def day_of(now: dt.datetime) -> dt.datetime:
    """Returns the first instant of a day in UTC."""
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


def month_of(now: dt.datetime) -> tuple[dt.datetime, dt.datetime]:
    """Returns the first instants of a month in UTC and of the next."""
    start = day_of(now).replace(day=1)
    return start, (start + dt.timedelta(days=32)).replace(day=1)


def _hour_of(now: dt.datetime) -> dt.datetime:
    return now.replace(minute=0, second=0, microsecond=0)
