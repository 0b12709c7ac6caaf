"""Rows of counters ⇄ the domain's counters."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any, Final

from services.admission.domain.bindings import CounterKey
from services.admission.domain.counters import (
    BucketCounter,
    Counter,
    OpenCounter,
    RollingCounter,
    Slot,
    make,
)
from services.admission.domain.windows import Span
from services.admission.rows import METRICS, Row, scope_of, window_of

# What batch_writer writes of a plain counter, and of one with more to it.
PLAIN_COLUMNS: Final = (
    "counter_id", "held", "settled", "overrun", "high_cap", "limit_id", "alerted_percent",
    "statistical",
)  # fmt: skip


def counter_of(row: Row) -> Counter:
    """Returns the counter in a row."""
    counter = make(
        counter_id=row["counter_id"],
        rank=row["rank"],
        metric=METRICS[row["metric"]],
        window=window_of(row, start=row["start_time"], end=row["end_time"]),
        end=row["end_time"],
        held=row["held"],
        settled=row["settled"],
        overrun=row["overrun"],
        high_cap=row["high_cap"],
        limit_id=row["limit_id"],
        alerted_percent=row["alerted_percent"],
        statistical=row["statistical"],
    )
    match counter:
        case RollingCounter():
            parts = (row["slot_indices"], row["slot_held"], row["slot_settled"])
            slots = zip(*(part or () for part in parts), strict=True)
            counter.slots = {index: Slot(held, settled) for index, held, settled in slots}
        case BucketCounter():
            counter.arrival = int(row["arrival"] or 0)
        case OpenCounter() if row["expire_time_max"] is not None:
            counter.expire_time_max = row["expire_time_max"]
    return counter


def other_columns(counter: Counter) -> tuple[Any, ...]:
    """Returns what batch_writer writes of a counter of another kind."""
    held, settled = counter.held, counter.settled
    expire_time_max: dt.datetime | None = None
    arrival: Decimal | None = None
    slots: tuple[str | None, ...] = (None, None, None)
    match counter:
        case OpenCounter():
            expire_time_max = counter.expire_time_max
        case BucketCounter():
            held, settled, arrival = 0, 0, Decimal(counter.arrival)
        case RollingCounter():
            indices = sorted(counter.slots)
            slots = (
                _array(indices),
                _array([counter.slots[index].held for index in indices]),
                _array([counter.slots[index].settled for index in indices]),
            )
    return (
        counter.counter_id,
        held,
        settled,
        counter.overrun,
        counter.high_cap,
        counter.limit_id,
        counter.alerted_percent,
        counter.statistical,
        expire_time_max,
        arrival,
        *slots,
    )


def key_of(row: Row) -> CounterKey:
    """Returns the identity of the counter in a row that carries its scope."""
    return CounterKey(
        counter_id=row["counter_id"],
        rank=row["rank"],
        scope=scope_of(row["scope"]),
        metric=METRICS[row["metric"]],
        window=window_of(row, start=row["start_time"], end=row["end_time"]),
        span=Span(start=row["start_time"], end=row["end_time"]),
    )


def _array(numbers: list[int]) -> str:
    return "{" + ",".join(map(str, numbers)) + "}"
