"""Plain models of windows, slow and obvious: lists of calls, and walks over the local clock."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol
from zoneinfo import ZoneInfo

from services.admission.domain.calendars import Period
from services.admission.domain.windows import (
    BucketWindow,
    CalendarWindow,
    IntervalWindow,
    RollingWindow,
    TotalWindow,
    Window,
)

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
MICROSECOND = dt.timedelta(microseconds=1)
MINUTE = dt.timedelta(minutes=1)


@dataclass(slots=True)
class Use:
    """What one admitted call counts, and since when."""

    amount: int
    admit_time: dt.datetime


class Model(Protocol):
    """Everything that was admitted under one limit."""

    def used(self, now: dt.datetime) -> Fraction:
        """What counts now."""

    def admit(self, amount: int, now: dt.datetime) -> Use:
        """Counts a call."""

    def revise(self, use: Use, amount: int, now: dt.datetime) -> None:
        """Counts another amount for a call."""


@dataclass(slots=True)
class ListModel:
    """Remembers every call; each counts while the window holds its admission."""

    window: Window
    uses: list[Use] = field(default_factory=list)

    def used(self, now: dt.datetime) -> Fraction:
        return Fraction(sum(use.amount for use in self.uses if self._counts(use.admit_time, now)))

    def admit(self, amount: int, now: dt.datetime) -> Use:
        use = Use(amount, now)
        self.uses.append(use)
        return use

    def revise(self, use: Use, amount: int, now: dt.datetime) -> None:
        # As if it had always been so.
        use.amount = amount

    def _counts(self, admit_time: dt.datetime, now: dt.datetime) -> bool:
        match self.window:
            case CalendarWindow():
                return period_of(self.window, admit_time) == period_of(self.window, now)
            case RollingWindow():
                return now < slot_end(self.window, admit_time) + length_of(self.window)
            case IntervalWindow() | TotalWindow():
                return True
            case _:
                raise AssertionError(self.window)


@dataclass(slots=True)
class BucketModel:
    """A bucket with a hole: its level falls steadily, in exact fractions."""

    window: BucketWindow
    level: Fraction = Fraction(0)
    since: dt.datetime = EPOCH

    def used(self, now: dt.datetime) -> Fraction:
        microseconds = (now - self.since) // MICROSECOND
        fallen = Fraction(microseconds * self.window.refill_amount, self.window.refill_us)
        return max(Fraction(0), self.level - fallen)

    def admit(self, amount: int, now: dt.datetime) -> Use:
        self.level, self.since = self.used(now) + amount, now
        return Use(amount, now)

    def revise(self, use: Use, amount: int, now: dt.datetime) -> None:
        # What was poured in stays in; only what exceeds it is poured in, now.
        self.level, self.since = self.used(now) + max(0, amount - use.amount), now
        use.amount = max(use.amount, amount)


def model_of(window: Window) -> Model:
    """The model of a window."""
    return BucketModel(window) if isinstance(window, BucketWindow) else ListModel(window)


def length_of(window: RollingWindow) -> dt.timedelta:
    """A rolling window's length."""
    return dt.timedelta(microseconds=window.length_us)


def slot_end(window: RollingWindow, instant: dt.datetime) -> dt.datetime:
    """The end of the slot that holds an instant; slots are laid from 1970 on."""
    length = length_of(window) / window.slot_count
    return EPOCH + ((instant - EPOCH) // length + 1) * length


def period_of(window: CalendarWindow, instant: dt.datetime) -> tuple[dt.datetime, dt.datetime]:
    """First instant of the period and first one after it, found by walking minute by minute."""
    zone = ZoneInfo(window.time_zone)
    instant = instant.replace(second=0, microsecond=0)
    if window.period is Period.HOUR:
        start, end = instant, instant + MINUTE
        while start.astimezone(zone).minute:
            start -= MINUTE
        while end.astimezone(zone).minute:
            end += MINUTE
        return start, end
    label = _label(window, instant.astimezone(zone).date())
    return _edge(window, zone, label, instant, -1), _edge(window, zone, label, instant, 1)


def _edge(
    window: CalendarWindow,
    zone: ZoneInfo,
    label: tuple[int, ...],
    instant: dt.datetime,
    direction: int,
) -> dt.datetime:
    def inside(at: dt.datetime) -> bool:
        return _label(window, at.astimezone(zone).date()) == label

    # Big steps first, and back by the smaller ones.
    for step in (dt.timedelta(hours=6), dt.timedelta(minutes=15), MINUTE):
        while inside(instant + direction * step):
            instant += direction * step
    return instant if direction < 0 else instant + MINUTE


def _label(window: CalendarWindow, day: dt.date) -> tuple[int, ...]:
    """What all days of a period have in common and no other day has."""
    match window.period:
        case Period.DAY:
            return (day.toordinal(),)
        case Period.WEEK:
            while day.isoweekday() != window.anchor:
                day -= dt.timedelta(days=1)
            return (day.toordinal(),)
        case _:
            tomorrow = day + dt.timedelta(days=1)
            is_last_day = tomorrow.month != day.month
            begun = day.day >= window.anchor or is_last_day
            month = day.year * 12 + day.month
            return (month if begun else month - 1,)
