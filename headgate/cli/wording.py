"""Values of the contract in words for people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from headgate.api.common.v1 import limit_pb2
from headgate.money import format_usd

if TYPE_CHECKING:
    from google.protobuf.descriptor import EnumDescriptor
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.timestamp_pb2 import Timestamp

NOTHING: Final = "-"
PLATFORM: Final = "platform"
EVERY_ORG: Final = "every org"


def word(descriptor: EnumDescriptor, number: int) -> str:
    """Returns an enum's value in lower case, such as "half open"; the number if it is too new."""
    value = descriptor.values_by_number.get(number)
    if value is None:
        return str(number)
    prefix = descriptor.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return value.name.removeprefix(prefix).lower().replace("_", " ")


def scope(dimensions: Mapping[str, str]) -> str:
    """Returns whom a limit is about."""
    if not dimensions:
        return PLATFORM
    if dict(dimensions) == {"org": "*"}:
        return EVERY_ORG
    return ", ".join(f"{name} {value}" for name, value in sorted(dimensions.items()))


def amount(metric: limit_pb2.Metric.ValueType, quantity: int) -> str:
    """Returns a quantity with its metric's unit, exactly."""
    if metric == limit_pb2.METRIC_COST:
        return format_usd(quantity)
    return f"{quantity:,}"


def window(holder: limit_pb2.Limit | limit_pb2.CounterState) -> str:
    """Returns the window of a limit or a counter."""
    if holder.HasField("calendar"):
        return _calendar(holder.calendar)
    if holder.HasField("rolling"):
        return f"rolling {_length(holder.rolling.duration)}"
    if holder.HasField("bucket"):
        bucket = holder.bucket
        refill = amount(holder.metric, bucket.refill_amount)
        return f"bucket {refill} per {_length(bucket.refill_duration)}"
    if holder.HasField("interval"):
        interval = holder.interval
        return f"{instant(interval, 'start_time')} to {instant(interval, 'end_time')}"
    return "total" if holder.HasField("total") else "at once"


def _calendar(calendar: limit_pb2.CalendarWindow) -> str:
    period = word(limit_pb2.CalendarPeriod.DESCRIPTOR, calendar.period)
    anchor = calendar.week_start_day or calendar.month_anchor_day
    start = f" from day {anchor}" if anchor > 1 else ""
    return f"{period}{start} {calendar.time_zone or 'UTC'}"


def _length(duration: Duration) -> str:
    seconds = duration.seconds + duration.nanos / 1e9
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size:g}{unit}"
    return f"{seconds:g}s"


def share(part: int, whole: int) -> str:
    """Returns a share in whole percent, rounded up: 100 % must not look like less."""
    return f"{-(-100 * part // whole)} %" if whole > 0 else NOTHING


def instant(holder: object, field: str) -> str:
    """Returns a timestamp field to the second in UTC; a dash if it is unset."""
    if not holder.HasField(field):  # type: ignore[attr-defined]
        return NOTHING
    timestamp: Timestamp = getattr(holder, field)
    moment: datetime = timestamp.ToDatetime(tzinfo=timezone.utc)
    return f"{moment:%Y-%m-%d %H:%M:%S}Z"
