"""Options of `headgate limits set`, and the limit that they describe."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from headgate.api.common.v1 import limit_pb2
from headgate.cli.config import WrongUse
from headgate.money import AMOUNT_NANOS_MAX, parse_usd

if TYPE_CHECKING:
    from collections.abc import Sequence

_UNITS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_AMOUNT_DIGITS_MAX: Final = 32
_DURATION: Final = re.compile(r"([0-9]{1,12})(ms|s|m|h|d)")
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class MetricName(str, enum.Enum):
    """What a limit counts."""

    CALLS = "calls"
    COST = "cost"
    TOKENS = "tokens"
    CONCURRENCY = "concurrency"


class PeriodName(str, enum.Enum):
    """Length of a calendar window."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


class ModeName(str, enum.Enum):
    """What a limit does when it is exceeded."""

    ENFORCE = "enforce"
    SHADOW = "shadow"
    OFF = "off"


@dataclass(frozen=True)
class WindowOptions:
    """What was said about the window: at most one of the first five."""

    per: PeriodName | None
    rolling: str
    refill: str
    total: bool
    interval: str
    time_zone: str
    start_day: str


def parse_scope(pairs: Sequence[str], *, org: str, each_org: bool) -> dict[str, str]:
    """Returns the pattern that a limit is about."""
    if org and each_org:
        raise WrongUse("--org and --each-org exclude each other")
    scope = {"org": "*" if each_org else org} if org or each_org else {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not name or not equals or not value:
            raise WrongUse(f"--for: write {pair!r} like user=* or label.ticket=T-17")
        if name in scope:
            raise WrongUse(f"--for: {name} is given twice")
        scope[name] = value
    return scope


def parse_amount(option: str, text: str, metric: MetricName) -> int:
    """Returns an amount in the metric's unit."""
    if metric is MetricName.COST:
        try:
            return parse_usd(text)
        except ValueError as error:
            raise WrongUse(f"{option}: {error}") from None
    if not (text.isascii() and text.isdigit()):
        raise WrongUse(f"{option}: {text!r} is not a number of {metric.value}; write it like 1000")
    if len(text) > _AMOUNT_DIGITS_MAX or int(text) > AMOUNT_NANOS_MAX:
        raise WrongUse(f"{option}: {text[:20]}… is too much")
    return int(text)


def set_window(limit: limit_pb2.Limit, options: WindowOptions, metric: MetricName) -> None:
    """Sets the window that the options describe."""
    given = {
        "--per": options.per is not None,
        "--rolling": bool(options.rolling),
        "--refill": bool(options.refill),
        "--total": options.total,
        "--interval": bool(options.interval),
    }
    names = [name for name, is_given in given.items() if is_given]
    if metric is MetricName.CONCURRENCY:
        if names:
            raise WrongUse(f"{names[0]}: concurrency has no window")
        return
    if len(names) != 1:
        raise WrongUse(f"name one window: {', '.join(given)}")
    if options.per is not None:
        _set_calendar(limit.calendar, options.per, options)
    elif options.rolling:
        limit.rolling.duration.CopyFrom(parse_duration("--rolling", options.rolling))
    elif options.refill:
        amount, slash, duration = options.refill.partition("/")
        if not slash:
            raise WrongUse(f"--refill: write {options.refill!r} like 100/1m")
        limit.bucket.refill_amount = parse_amount("--refill", amount, metric)
        limit.bucket.refill_duration.CopyFrom(parse_duration("--refill", duration))
    elif options.interval:
        start, slash, end = options.interval.partition("/")
        if not slash:
            raise WrongUse("--interval: write it like 2026-05-01T00:00:00Z/2026-06-01T00:00:00Z")
        limit.interval.start_time.CopyFrom(parse_instant("--interval", start))
        limit.interval.end_time.CopyFrom(parse_instant("--interval", end))
    else:
        limit.total.SetInParent()


def parse_duration(option: str, text: str) -> Duration:
    """Returns a duration such as 90s, 15m or 12h."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise WrongUse(f"{option}: {text!r} is no duration; write it like 90s, 15m, 12h or 7d")
    milliseconds = int(match[1]) * _UNITS[match[2]]
    return Duration(seconds=milliseconds // 1_000, nanos=milliseconds % 1_000 * 1_000_000)


def format_duration(duration: Duration) -> str:
    """Returns a duration of whole milliseconds as `parse_duration` reads it."""
    milliseconds = duration.seconds * 1_000 + duration.nanos // 1_000_000
    for unit, size in sorted(_UNITS.items(), key=lambda pair: -pair[1]):
        if milliseconds % size == 0:
            return f"{milliseconds // size}{unit}"
    raise AssertionError("a millisecond divides all")


def parse_instant(option: str, text: str) -> Timestamp:
    """Returns an instant; one without an offset is UTC."""
    timestamp = Timestamp()
    try:
        # Python 3.10 does not know the Z.
        moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc)
        timestamp.FromDatetime(moment)
    except (ValueError, OverflowError):
        raise WrongUse(f"{option}: {text!r} is no instant; write it like 2026-05-01") from None
    return timestamp


def _set_calendar(
    calendar: limit_pb2.CalendarWindow, per: PeriodName, options: WindowOptions
) -> None:
    calendar.period = limit_pb2.CalendarPeriod.Value(f"CALENDAR_PERIOD_{per.name}")
    calendar.time_zone = options.time_zone
    day = options.start_day.lower()
    if not day:
        return
    if per is PeriodName.WEEK and day[:3] in DAYS:
        calendar.week_start_day = DAYS.index(day[:3]) + 1
    elif per is PeriodName.MONTH and day.isascii() and day.isdigit():
        calendar.month_anchor_day = int(day)
    else:
        raise WrongUse("--start-day: a week starts on a day like monday, a month on one like 15")
