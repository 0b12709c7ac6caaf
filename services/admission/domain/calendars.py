"""Periods of the calendar: which hour, day, week or month of a time zone holds an instant.

Periods follow the zone's own clock: a day of a daylight-saving change has 23 or 25 hours, and
every instant lies in exactly one period.
"""

from __future__ import annotations

import calendar
import datetime as dt
import enum
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

UTC: Final = dt.UTC
_HOUR: Final = dt.timedelta(hours=1)
_DAY: Final = dt.timedelta(days=1)
_WEEK: Final = dt.timedelta(days=7)


class Period(enum.IntEnum):
    """Length of a calendar window; the numbers are those of the contract and the schema."""

    DAY = 1
    MONTH = 2
    HOUR = 3
    WEEK = 4


@lru_cache(maxsize=1024)
def zone_named(name: str) -> ZoneInfo:
    """Returns the zone. Raises ValueError if there is none of this name."""
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError) as error:
        raise ValueError(name) from error


def bounds_at(
    period: Period, zone: ZoneInfo, anchor: int, instant: dt.datetime
) -> tuple[dt.datetime, dt.datetime]:
    """Returns the first instant of the period that contains `instant`, and the first after it.

    `anchor` is the day that a week starts with, 1 Monday to 7 Sunday, or the day of the month that
    a month starts with; in shorter months it is the last day.
    """
    local = instant.astimezone(zone)
    if period is Period.HOUR:
        return _hour_at(local)
    first, after = _days_at(period, anchor, local.date())
    return _midnight(first, zone), _midnight(after, zone)


def _days_at(period: Period, anchor: int, day: dt.date) -> tuple[dt.date, dt.date]:
    if period is Period.DAY:
        return day, day + _DAY
    if period is Period.WEEK:
        first = day - dt.timedelta(days=(day.isoweekday() - anchor) % 7)
        return first, first + _WEEK
    this = _month_start(day.year, day.month, anchor)
    if day >= this:
        return this, _month_start(*_next_month(day.year, day.month), anchor)
    before = dt.date(day.year, day.month, 1) - _DAY
    return _month_start(before.year, before.month, anchor), this


def _month_start(year: int, month: int, anchor: int) -> dt.date:
    return dt.date(year, month, min(anchor, calendar.monthrange(year, month)[1]))


def _next_month(year: int, month: int) -> tuple[int, int]:
    return year + month // 12, month % 12 + 1


def _midnight(day: dt.date, zone: ZoneInfo) -> dt.datetime:
    # fold=0 is the first of two midnights, and where a change skips midnight it gives the instant
    # of the change: in both cases the first instant of the local day.
    return dt.datetime.combine(day, dt.time(), tzinfo=zone).astimezone(UTC)


def _hour_at(local: dt.datetime) -> tuple[dt.datetime, dt.datetime]:
    zone, start = local.tzinfo, local.astimezone(UTC)
    end = start + (_HOUR - _past_hour(local))
    start -= _past_hour(local)
    # A change by less than an hour moves the full hours themselves: go on to the nearest one.
    while past := _past_hour(start.astimezone(zone)):
        start -= past
    while past := _past_hour(end.astimezone(zone)):
        end += _HOUR - past
    return start, end


def _past_hour(local: dt.datetime) -> dt.timedelta:
    return dt.timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
