"""Windows: the time over which a limit counts.

A calendar window starts anew with each period, lazily: a new period is a new counter. The others
have one counter for as long as they apply.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final, TypeAlias

from services.admission.domain.calendars import Period, bounds_at, zone_named

EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
# No window and no validity reaches further; it stands for "without an end" in comparisons.
FOREVER: Final = dt.datetime(9999, 1, 1, tzinfo=dt.UTC)
MICROSECOND: Final = dt.timedelta(microseconds=1)


def micros(instant: dt.datetime) -> int:
    """Returns microseconds since 1970, exactly."""
    return (instant - EPOCH) // MICROSECOND


def instant_of(microseconds: int) -> dt.datetime:
    """Returns the instant so many microseconds after 1970."""
    return EPOCH + dt.timedelta(microseconds=microseconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One period: from `start`, inclusive, to `end`, exclusive. Both in UTC."""

    start: dt.datetime
    # FOREVER: it has no end.
    end: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CalendarWindow:
    """A window that follows the calendar of an IANA time zone."""

    period: Period
    time_zone: str = "UTC"
    # First day of a week, 1 Monday to 7 Sunday, or day on which a month starts. 1 for the others.
    anchor: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RollingWindow:
    """The time that has just passed, in slots with absolute indices.

    A slot counts until all of it has left, so in every trailing `length` at most the cap is
    admitted, and at times what was admitted up to one slot earlier still counts.
    """

    length_us: int
    slot_count: int

    @property
    def slot_us(self) -> int:
        """Length of a slot in microseconds."""
        return self.length_us // self.slot_count

    def slot_at(self, instant: dt.datetime) -> int:
        """Returns the index of the slot that contains `instant`."""
        return micros(instant) // self.slot_us

    def first_live_slot(self, now: dt.datetime) -> int:
        """Returns the index of the oldest slot that still counts."""
        return (micros(now) - self.length_us) // self.slot_us

    def leave_time(self, slot: int) -> dt.datetime:
        """Returns the instant from which on a slot no longer counts."""
        return instant_of((slot + 1) * self.slot_us + self.length_us)


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketWindow:
    """A bucket that refills steadily: the generic cell rate algorithm (ITU-T I.371)."""

    refill_amount: int
    refill_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalWindow:
    """A window without an end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalWindow:
    """A window between two instants."""

    start: dt.datetime
    end: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenWindow:
    """What is open now: the window of concurrency."""


Window: TypeAlias = (
    CalendarWindow | RollingWindow | BucketWindow | TotalWindow | IntervalWindow | OpenWindow
)

ENDLESS: Final = Span(start=EPOCH, end=FOREVER)


def span_at(window: Window, instant: dt.datetime) -> Span:
    """Returns the period of `window` that contains `instant`, or the one that it has."""
    if isinstance(window, CalendarWindow):
        start, end = bounds_at(window.period, zone_named(window.time_zone), window.anchor, instant)
        return Span(start=start, end=end)
    if isinstance(window, IntervalWindow):
        return Span(start=window.start, end=window.end)
    return ENDLESS


def identity(window: Window) -> list[str | int]:
    """Returns what tells one window's counters from another's."""
    match window:
        case CalendarWindow():
            # A plain day or month has always been written without its anchor.
            anchor = [window.anchor] if window.anchor != 1 else []
            return [window.period.value, window.time_zone, *anchor]
        case RollingWindow():
            return ["rolling", window.length_us, window.slot_count]
        case BucketWindow():
            return ["bucket", window.refill_amount, window.refill_us]
        case TotalWindow():
            return ["total"]
        case IntervalWindow():
            return ["interval", micros(window.end)]
        case _:
            return ["open"]
