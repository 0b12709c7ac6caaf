"""What is found in feeds and copies, as conditions to tell of."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, assert_never

from headgate.money import format_usd
from services.accounting.domain.alerts import Condition
from services.accounting.domain.events import Event

WHOLE_PERCENT: Final = 100
# What is noticed call by call is over when no such call came for so long.
USAGE_LASTS: Final = dt.timedelta(hours=24)
DENIALS_LAST: Final = dt.timedelta(minutes=30)
SWITCHES_LAST: Final = dt.timedelta(minutes=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """A threshold of a limit that was crossed for the first time in a period."""

    # The same for all thresholds of one limit and period.
    counter_id: str
    limit_id: str
    scope: Mapping[str, str]
    # Such as "cost".
    metric: str
    start_time: dt.datetime | None
    end_time: dt.datetime | None
    percent: int
    cap: int
    settled: int
    owner: str


class UsageFault(enum.Enum):
    """What may be wrong with booked calls."""

    OVERRUN = "overrun"
    UNPRICED = "unpriced"
    UNREPORTED = "unreported"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageFinding:
    """Calls that were booked since the last look, and have the same fault."""

    fault: UsageFault
    org: str
    operation: str
    provider: str
    model: str
    call_count: int
    cost_nanos: int
    overrun_nanos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """Calls that replaced failed ones of another model, since the last look."""

    org: str
    operation: str
    from_provider: str
    from_model: str
    provider: str
    model: str
    call_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Denials:
    """Calls that a budget has denied lately."""

    limit_id: str
    org: str
    denial_count: int
    requested_nanos: int
    owner: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HighForecast:
    """A budget that will not last until its period ends."""

    limit_id: str
    scope: Mapping[str, str]
    start_time: dt.datetime | None
    end_time: dt.datetime | None
    cap_nanos: int
    spent_nanos: int
    low_nanos: int
    expected_nanos: int
    high_nanos: int
    exhaustion_time: dt.datetime | None


def describe_crossing(crossing: Crossing) -> Condition:
    """Returns the condition of a crossing: raised once, over when its period ends."""
    is_full = crossing.percent >= WHOLE_PERCENT
    amounts = (crossing.settled, crossing.cap)
    used, cap = map(format_usd, amounts) if crossing.metric == "cost" else map(str, amounts)
    return Condition(
        key=f"limit/{crossing.counter_id}/{crossing.percent}",
        once=True,
        expire_time=crossing.end_time,
        event=Event(
            type="cost.budget.exceeded" if is_full else "cost.budget.warning",
            org=crossing.scope.get("org", ""),
            subject=f"limit/{crossing.limit_id}",
            title=f"{crossing.percent} % of {crossing.limit_id} is used: {used} of {cap}",
            data={
                "limit_id": crossing.limit_id,
                "scope": dict(crossing.scope),
                "metric": crossing.metric,
                "start_time": show_time(crossing.start_time),
                "end_time": show_time(crossing.end_time),
                "owner": crossing.owner,
                "threshold_percent": crossing.percent,
                "settled": crossing.settled,
                "cap": crossing.cap,
            },
        ),
    )


def describe_usage(finding: UsageFinding, *, now: dt.datetime) -> Condition:
    """Returns the condition of a fault of booked calls."""
    data: dict[str, str | int] = {
        "operation": finding.operation,
        "provider": finding.provider,
        "model": finding.model,
        "call_count": finding.call_count,
        "cost_nanos": finding.cost_nanos,
    }
    model, calls = f"{finding.provider}/{finding.model}", f"{finding.call_count:,} calls"
    subject = f"operation/{finding.operation}"
    match finding.fault:
        case UsageFault.UNPRICED:
            key, subject = f"unpriced/{finding.org}/{model}", f"model/{model}"
            title = f"{model} has no price: {calls} of {finding.org} were charged at their holds"
        case UsageFault.UNREPORTED:
            key = f"unreported/{finding.org}/{finding.operation}/{model}"
            title = f"{calls} of {finding.operation} by {finding.org} ended without a report"
        case UsageFault.OVERRUN:
            key = f"overrun/{finding.org}/{finding.operation}/{model}"
            beyond = format_usd(finding.overrun_nanos)
            title = f"{calls} of {finding.operation} by {finding.org} cost {beyond} beyond holds"
            data["overrun_nanos"] = finding.overrun_nanos
        case _:
            assert_never(finding.fault)
    event_type = (
        "cost.overrun" if finding.fault is UsageFault.OVERRUN else f"usage.{finding.fault.value}"
    )
    return Condition(
        key=key,
        expire_time=now + USAGE_LASTS,
        event=Event(type=event_type, org=finding.org, subject=subject, title=title, data=data),
    )


def describe_switch(switch: Switch, *, now: dt.datetime) -> Condition:
    """Returns the condition of calls that went to another model."""
    origin, model = (
        f"{switch.from_provider}/{switch.from_model}",
        f"{switch.provider}/{switch.model}",
    )
    calls = f"{switch.call_count:,} calls of {switch.operation} by {switch.org}"
    return Condition(
        key=f"switched/{switch.org}/{switch.operation}/{origin}/{model}",
        expire_time=now + SWITCHES_LAST,
        event=Event(
            type="model.switched",
            org=switch.org,
            subject=f"operation/{switch.operation}",
            title=f"{calls} went to {model}, for {origin} had failed",
            data={
                "operation": switch.operation,
                "from_provider": switch.from_provider,
                "from_model": switch.from_model,
                "provider": switch.provider,
                "model": switch.model,
                "call_count": switch.call_count,
            },
        ),
    )


def describe_refused_prices(source: str, error: str, *, count: int) -> Condition:
    """Returns the condition of prices that were refused: it lasts until good ones come."""
    return Condition(
        key=f"prices/{source}",
        event=Event(
            type="prices.refused",
            org="",
            subject=f"prices/{source}",
            title=f"{count:,} prices of the {source} are refused: {error}",
            data={"source": source, "refused_count": count, "error": error},
        ),
    )


def describe_denials(denials: Denials, *, now: dt.datetime) -> Condition:
    """Returns the condition of a budget that denies."""
    return Condition(
        key=f"exhausted/{denials.org}/{denials.limit_id}",
        expire_time=now + DENIALS_LAST,
        event=Event(
            type="cost.budget.exhausted",
            org=denials.org,
            subject=f"limit/{denials.limit_id}",
            title=f"{denials.limit_id} denies: {denials.denial_count:,} calls in ten minutes",
            data={
                "limit_id": denials.limit_id,
                "denial_count": denials.denial_count,
                "requested_nanos": denials.requested_nanos,
                "owner": denials.owner,
            },
        ),
    )


def describe_forecast(high: HighForecast) -> Condition:
    """Returns the condition of a budget that will not last: raised once in its period."""
    scope = ",".join(f"{name}={value}" for name, value in sorted(high.scope.items()))
    start = show_time(high.start_time)
    expected, cap = format_usd(high.expected_nanos), format_usd(high.cap_nanos)
    return Condition(
        key=f"forecast/{high.limit_id}/{scope}/{start}",
        once=True,
        expire_time=high.end_time,
        event=Event(
            type="cost.forecast.high",
            org=high.scope.get("org", ""),
            subject=f"limit/{high.limit_id}",
            title=f"{high.limit_id} will not last: {expected} of {cap} are expected",
            data={
                "limit_id": high.limit_id,
                "scope": dict(high.scope),
                "start_time": start,
                "end_time": show_time(high.end_time),
                "cap": high.cap_nanos,
                "spent_nanos": high.spent_nanos,
                "low_nanos": high.low_nanos,
                "expected_nanos": high.expected_nanos,
                "high_nanos": high.high_nanos,
                "exhaustion_time": show_time(high.exhaustion_time),
            },
        ),
    )


def show_time(instant: dt.datetime | None) -> str | None:
    """Returns an instant as RFC 3339 in UTC."""
    if instant is None:
        return None
    return instant.astimezone(dt.UTC).isoformat().replace("+00:00", "Z")
