"""Protobuf ⇄ domain: windows of limits and counters."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.checks import Checks
from headgate.api.common.v1 import limit_pb2
from services.admission.domain.calendars import Period, zone_named
from services.admission.domain.limits import AMOUNT_MAX
from services.admission.domain.windows import (
    EPOCH,
    FOREVER,
    BucketWindow,
    CalendarWindow,
    IntervalWindow,
    OpenWindow,
    RollingWindow,
    TotalWindow,
    Window,
)
from services.admission.wire_denials import render_time

DEFAULT_ZONE: Final = "UTC"
SLOT_COUNT_DEFAULT: Final = 12
SLOT_COUNT_MAX: Final = 60
DURATION_SECONDS_MAX: Final = 31 * 86_400
WEEK_DAY_COUNT: Final = 7
MONTH_DAY_COUNT: Final = 31
_WINDOWS: Final = ("calendar", "rolling", "bucket", "total", "interval")
_MICROS: Final = 1_000_000
_NANOS_PER_MICRO: Final = 1_000
_MICROS_PER_MILLI: Final = 1_000


def parse_window(checks: Checks, limit: limit_pb2.Limit) -> Window:
    """Returns the limit's window; a wrong one is on the checks and may be anything."""
    given = [name for name in _WINDOWS if limit.HasField(name)]
    if limit.metric == limit_pb2.METRIC_CONCURRENCY:
        for name in given:
            checks.violate(name, "concurrency has no window: it counts what is open now")
        return OpenWindow()
    if len(given) != 1:
        found = ", ".join(given) or "none"
        checks.violate("calendar", f"set exactly one of {', '.join(_WINDOWS)}; found: {found}")
        return TotalWindow()
    parsers: dict[str, Callable[[Checks, Any], Window]] = {
        "calendar": _parse_calendar,
        "rolling": _parse_rolling,
        "bucket": _parse_bucket,
        "interval": _parse_interval,
        "total": lambda _checks, _window: TotalWindow(),
    }
    return parsers[given[0]](checks, getattr(limit, given[0]))


def _parse_calendar(checks: Checks, window: limit_pb2.CalendarWindow) -> CalendarWindow:
    period = checks.choice(
        "calendar.period", window.period, allowed=[each.value for each in Period]
    )
    zone = window.time_zone or DEFAULT_ZONE
    try:
        zone_named(checks.text("calendar.time_zone", zone, max_length=64))
    except ValueError:
        checks.violate("calendar.time_zone", "send an IANA name such as Europe/Amsterdam")
    anchors = (
        ("calendar.week_start_day", window.week_start_day, Period.WEEK, WEEK_DAY_COUNT),
        ("calendar.month_anchor_day", window.month_anchor_day, Period.MONTH, MONTH_DAY_COUNT),
    )
    anchor = 1
    for field, value, of_period, maximum in anchors:
        checks.integer(field, value, minimum=0, maximum=maximum)
        if period == of_period:
            anchor = value or 1
        elif value:
            checks.violate(field, f"only goes with {of_period.name.lower()}s; leave it unset")
    known = Period(period) if period in set(Period) else Period.DAY
    return CalendarWindow(period=known, time_zone=zone, anchor=anchor)


def _parse_rolling(checks: Checks, window: limit_pb2.RollingWindow) -> RollingWindow:
    length_us = _parse_duration(checks, "rolling.duration", window.duration, minimum_us=_MICROS)
    count = window.slot_count or SLOT_COUNT_DEFAULT
    checks.integer("rolling.slot_count", count, minimum=1, maximum=SLOT_COUNT_MAX)
    if length_us % _MICROS:
        checks.violate("rolling.duration", "send whole seconds")
    if count > 0 and length_us % (count * _MICROS_PER_MILLI):
        checks.violate(
            "rolling.slot_count", "choose one that divides the duration into whole milliseconds"
        )
    return RollingWindow(length_us=length_us, slot_count=max(count, 1))


def _parse_bucket(checks: Checks, window: limit_pb2.BucketWindow) -> BucketWindow:
    refill_us = _parse_duration(
        checks, "bucket.refill_duration", window.refill_duration, minimum_us=_MICROS_PER_MILLI
    )
    if refill_us % _MICROS_PER_MILLI:
        checks.violate("bucket.refill_duration", "send whole milliseconds")
    amount = checks.integer(
        "bucket.refill_amount", window.refill_amount, minimum=1, maximum=AMOUNT_MAX
    )
    return BucketWindow(refill_amount=amount, refill_us=refill_us)


def _parse_interval(checks: Checks, window: limit_pb2.IntervalWindow) -> IntervalWindow:
    for field in ("start_time", "end_time"):
        if not window.HasField(field):
            checks.violate(f"interval.{field}", "required: send an instant")
    start = parse_time(checks, "interval.start_time", window.start_time)
    end = parse_time(checks, "interval.end_time", window.end_time)
    if start >= end:
        checks.violate("interval.end_time", "must be after start_time")
    return IntervalWindow(start=start, end=end)


def parse_time(checks: Checks, field: str, value: Timestamp) -> dt.datetime:
    """Returns the instant, to the microsecond; a wrong one is on the checks."""
    latest = int(FOREVER.timestamp()) - 1
    if 0 <= value.seconds <= latest and 0 <= value.nanos < _MICROS * _NANOS_PER_MICRO:
        micros = value.nanos // _NANOS_PER_MICRO
        return EPOCH + dt.timedelta(seconds=value.seconds, microseconds=micros)
    checks.violate(field, "must lie between the years 1970 and 9998")
    return EPOCH


def _parse_duration(checks: Checks, field: str, value: Duration, *, minimum_us: int) -> int:
    micros = value.seconds * _MICROS + value.nanos // _NANOS_PER_MICRO
    is_exact = not value.nanos % _NANOS_PER_MICRO
    if not is_exact or not minimum_us <= micros <= DURATION_SECONDS_MAX * _MICROS:
        least = f"{minimum_us / _MICROS:g}"
        checks.violate(field, f"must be from {least} seconds to 31 days")
    return micros


def window_fields(window: Window) -> dict[str, Any]:
    """Returns the fields of `Limit` and `CounterState` that define a window."""
    match window:
        case CalendarWindow():
            message = limit_pb2.CalendarWindow(
                period=limit_pb2.CalendarPeriod.ValueType(window.period.value),
                time_zone=window.time_zone,
            )
            if window.period is Period.WEEK:
                message.week_start_day = window.anchor
            if window.period is Period.MONTH and window.anchor != 1:
                message.month_anchor_day = window.anchor
            return {"calendar": message}
        case RollingWindow():
            return {
                "rolling": limit_pb2.RollingWindow(
                    duration=_render_duration(window.length_us), slot_count=window.slot_count
                )
            }
        case BucketWindow():
            return {
                "bucket": limit_pb2.BucketWindow(
                    refill_amount=window.refill_amount,
                    refill_duration=_render_duration(window.refill_us),
                )
            }
        case TotalWindow():
            return {"total": limit_pb2.TotalWindow()}
        case IntervalWindow():
            return {
                "interval": limit_pb2.IntervalWindow(
                    start_time=render_time(window.start), end_time=render_time(window.end)
                )
            }
        case OpenWindow():
            return {}


def _render_duration(micros: int) -> Duration:
    seconds, rest = divmod(micros, _MICROS)
    return Duration(seconds=seconds, nanos=rest * _NANOS_PER_MICRO)
