"""Rows of the schema ⇄ values of the domain."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias

import asyncpg

from services.admission.domain.calendars import Period, zone_named
from services.admission.domain.calls import CallKey, Reservation, State
from services.admission.domain.fences import Fence
from services.admission.domain.limits import (
    AMOUNT_MAX,
    Limit,
    Metric,
    Mode,
    Scope,
    Shares,
    ordered,
)
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

# A record, or the object of a JSON aggregate. Quoted: generic for the type checker only.
Row: TypeAlias = "Mapping[str, Any] | asyncpg.Record"

CALENDAR, ROLLING, BUCKET, TOTAL, INTERVAL, OPEN = 1, 2, 3, 4, 5, 6
METRICS: Final = {metric.value: metric for metric in Metric}
STATES: Final = {state.value: state for state in State}


def window_of(row: Row, *, start: dt.datetime | None, end: dt.datetime | None) -> Window:
    """Returns the window that a row defines. Raises ValueError if it makes no sense."""
    kind = row["window_kind"]
    if kind == CALENDAR:
        return _calendar(row["period"], row["time_zone"], row["anchor"])
    if kind == INTERVAL:
        if start is None or end is None or start >= end:
            raise ValueError("the interval ends before it begins")
        return IntervalWindow(start=start, end=end)
    return _plain(kind, row["length_us"], row["slot_count"], row["refill_amount"])


@lru_cache(maxsize=1024)
def _calendar(period: int, time_zone: str, anchor: int) -> CalendarWindow:
    zone_named(time_zone)
    return CalendarWindow(period=Period(period), time_zone=time_zone, anchor=anchor)


@lru_cache(maxsize=1024)
def _plain(kind: int, length_us: int, slot_count: int, refill_amount: int) -> Window:
    match kind:
        case _ if kind == ROLLING and slot_count > 0 and length_us >= slot_count:
            return RollingWindow(length_us=length_us, slot_count=slot_count)
        case _ if kind == BUCKET and refill_amount > 0 and length_us > 0:
            return BucketWindow(refill_amount=refill_amount, refill_us=length_us)
        case _ if kind == TOTAL:
            return TotalWindow()
        case _ if kind == OPEN:
            return OpenWindow()
    raise ValueError(f"there is no window of kind {kind} with these parts")


def window_columns(window: Window) -> dict[str, Any]:
    """Returns the columns that define a window, in the schema's order."""
    columns = {
        "window_kind": TOTAL,
        "period": 0,
        "time_zone": "",
        "anchor": 1,
        "length_us": 0,
        "slot_count": 0,
        "refill_amount": 0,
    }
    match window:
        case CalendarWindow():
            columns["window_kind"], columns["period"] = CALENDAR, window.period.value
            columns["time_zone"], columns["anchor"] = window.time_zone, window.anchor
        case RollingWindow():
            columns["window_kind"], columns["length_us"] = ROLLING, window.length_us
            columns["slot_count"] = window.slot_count
        case BucketWindow():
            columns["window_kind"], columns["length_us"] = BUCKET, window.refill_us
            columns["refill_amount"] = window.refill_amount
        case IntervalWindow():
            columns["window_kind"] = INTERVAL
        case OpenWindow():
            columns["window_kind"] = OPEN
        case TotalWindow():
            pass
    return columns


def limit_of(row: Row) -> Limit:
    """Returns the limit in a row. Raises ValueError if it makes no sense."""
    scope = row["scope"] if isinstance(row["scope"], dict) else json.loads(row["scope"])
    cap = row["cap"]
    if not 0 <= cap <= AMOUNT_MAX:
        raise ValueError("the cap is out of bounds")
    metric = Metric(row["metric"])
    window = window_of(
        row, start=_instant(row["interval_start"]), end=_instant(row["interval_end"])
    )
    if (metric is Metric.CONCURRENCY) is not isinstance(window, OpenWindow):
        raise ValueError("the window does not go with the metric")
    return Limit(
        limit_id=row["limit_id"],
        scope=ordered(scope),
        metric=metric,
        window=window,
        cap=cap,
        owner=row["owner"],
        mode=Mode(row["mode"]),
        start=_instant(row["valid_from"]) or EPOCH,
        end=_instant(row["valid_until"]) or FOREVER,
        shares=Shares(
            default_percent=row["default_percent"], sheddable_percent=row["sheddable_percent"]
        ),
        alert_percents=tuple(row["alert_percents"]),
        version=row["version"],
    )


def limit_columns(limit: Limit) -> dict[str, Any]:
    """Returns the limit as a row, in the order of upsert_limit's parameters."""
    window = limit.window
    interval = (window.start, window.end) if isinstance(window, IntervalWindow) else (None, None)
    return {
        "limit_id": limit.limit_id,
        "scope": json.dumps(dict(limit.scope)),
        "metric": limit.metric.value,
        **window_columns(window),
        "interval_start": interval[0],
        "interval_end": interval[1],
        "cap": limit.cap,
        "owner": limit.owner,
        "mode": limit.mode.value,
        "valid_from": limit.start if limit.start != EPOCH else None,
        "valid_until": limit.end if limit.end != FOREVER else None,
        "default_percent": limit.shares.default_percent,
        "sheddable_percent": limit.shares.sheddable_percent,
        "alert_percents": list(limit.alert_percents),
    }


def fence_of(row: Row) -> Fence:
    """Returns the fence in a row."""
    scope = row["scope"] if isinstance(row["scope"], dict) else json.loads(row["scope"])
    return Fence(
        fence_id=row["fence_id"],
        sequence=row["sequence"],
        active=row["active"],
        message=row["message"],
        scope=ordered(scope),
        expire_time=_instant(row["expire_time"]) or FOREVER,
    )


def scope_of(text: str) -> Scope:
    """Returns the scope in a column."""
    return ordered(json.loads(text))


def reservation_of(row: Row) -> Reservation:
    """Returns the call in a row of a batch."""
    return Reservation(
        key=CallKey(row["org"], row["call_id"]),
        fingerprint=row["fingerprint"],
        operation=row["operation"],
        provider=row["provider"],
        model=row["model"],
        held_nanos=row["held_nanos"],
        held_tokens=row["held_tokens"],
        worst_nanos=row["worst_nanos"],
        worst_tokens=row["worst_tokens"],
        set_id=row["set_id"],
        admit_time=row["admit_time"],
        expire_time=row["expire_time"],
        price_version=row["price_version"],
        breaker_epoch=row["breaker_epoch"],
        state=STATES[row["state"]],
        settled_nanos=row["settled_nanos"],
        settled_tokens=row["settled_tokens"],
        revision=row["revision"],
        hold_returned=row["hold_returned"],
        id_day=row["id_day"],
    )


def _instant(value: dt.datetime | str | None) -> dt.datetime | None:
    # A JSON aggregate has instants as text.
    return dt.datetime.fromisoformat(value) if isinstance(value, str) else value
