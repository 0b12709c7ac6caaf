"""Calendar windows: which period of a time zone an instant falls into.

Periods follow the zone's own calendar: a day of a daylight-saving change has 23 or 25 hours, and
every instant lies in exactly one period. They roll lazily: a new period is a new counter.
"""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

UTC: Final = dt.UTC


class Period(enum.IntEnum):
    """Length of a calendar window; the numbers are those of the contract and the schema."""

    DAY = 1
    MONTH = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarWindow:
    """A window that follows the calendar of an IANA time zone."""

    period: Period
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One period: from `start`, inclusive, to `end`, exclusive. Both in UTC."""

    start: dt.datetime
    end: dt.datetime


def span_at(window: CalendarWindow, instant: dt.datetime) -> Span:
    """Returns the period of `window` that contains `instant`."""
    zone = zone_named(window.time_zone)
    local_day = instant.astimezone(zone).date()
    if window.period is Period.DAY:
        first, after = local_day, local_day + dt.timedelta(days=1)
    else:
        first = local_day.replace(day=1)
        after = (first + dt.timedelta(days=32)).replace(day=1)
    return Span(start=_midnight(first, zone), end=_midnight(after, zone))


@lru_cache(maxsize=1024)
def zone_named(name: str) -> ZoneInfo:
    """Returns the zone. Raises ValueError if there is none of this name."""
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError) as error:
        raise ValueError(name) from error


def _midnight(day: dt.date, zone: ZoneInfo) -> dt.datetime:
    # fold=0 is the first of two midnights, and where a change skips midnight it gives the instant
    # of the change: in both cases the first instant of the local day.
    return dt.datetime.combine(day, dt.time(), tzinfo=zone).astimezone(UTC)
