"""Days that are not like the week before: twice the spend, or three times the calls."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from headgate.money import format_usd
from services.accounting.domain.alerts import Condition
from services.accounting.domain.events import Event

SPEND_FACTOR: Final = 2
CALLS_FACTOR: Final = 3
# Below these nobody cares: small orgs would be told each time they do anything.
SPEND_FLOOR_NANOS: Final = 5_000_000_000
CALLS_FLOOR: Final = 100
WEEK_DAYS: Final = 7
# With fewer days before it nothing is usual.
USUAL_DAYS_MIN: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationDay:
    """What an org used of an operation today so far, and in the week before."""

    org: str
    operation: str
    day: dt.date
    cost_nanos: int
    call_count: int
    # Sums over the days before, at most seven, ...
    week_cost_nanos: int
    week_call_count: int
    # ... since the first of them on which there was any call.
    usual_day_count: int


def find_anomalies(days: Iterable[OperationDay]) -> Iterator[Condition]:
    """Yields a condition for each org and operation that is far above its usual day."""
    for each in days:
        if each.usual_day_count < USUAL_DAYS_MIN:
            continue
        spent = each.cost_nanos * each.usual_day_count
        if each.cost_nanos >= SPEND_FLOOR_NANOS and spent >= SPEND_FACTOR * each.week_cost_nanos:
            yield _describe_spend(each)
        called = each.call_count * each.usual_day_count
        if each.call_count >= CALLS_FLOOR and called >= CALLS_FACTOR * each.week_call_count:
            yield _describe_calls(each)


def _describe_spend(each: OperationDay) -> Condition:
    usual = each.week_cost_nanos // each.usual_day_count
    return _condition(
        each,
        "spend",
        title=f"{each.org} has spent {format_usd(each.cost_nanos)} on {each.operation} today, "
        f"usually {format_usd(usual)} a day",
        data={"cost_nanos": each.cost_nanos, "usual_cost_nanos": usual},
    )


def _describe_calls(each: OperationDay) -> Condition:
    usual = each.week_call_count // each.usual_day_count
    return _condition(
        each,
        "calls",
        title=f"{each.org} has made {each.call_count:,} calls of {each.operation} today, "
        f"usually {usual:,} a day",
        data={"call_count": each.call_count, "usual_call_count": usual},
    )


def _condition(
    each: OperationDay, kind: str, *, title: str, data: dict[str, str | int]
) -> Condition:
    midnight = dt.datetime.combine(each.day, dt.time(), dt.UTC)
    facts: dict[str, str | int] = {
        "operation": each.operation,
        "day": str(each.day),
        "usual_day_count": each.usual_day_count,
    }
    return Condition(
        key=f"anomaly/{kind}/{each.org}/{each.operation}/{each.day}",
        once=True,
        # A day more: what the evening raises is seen in the morning.
        expire_time=midnight + dt.timedelta(days=2),
        event=Event(
            type=f"cost.anomaly.{kind}",
            org=each.org,
            subject=f"operation/{each.operation}",
            title=title,
            data=facts | data,
        ),
    )
