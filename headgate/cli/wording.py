"""Values of the contract in words for people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Final

from headgate.api.common.v1 import limit_pb2
from headgate.money import format_usd

if TYPE_CHECKING:
    from google.protobuf.descriptor import EnumDescriptor
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


def window(calendar: limit_pb2.CalendarWindow) -> str:
    """Returns a window's length and time zone."""
    period = word(limit_pb2.CalendarPeriod.DESCRIPTOR, calendar.period)
    return f"{period} {calendar.time_zone or 'UTC'}"


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
