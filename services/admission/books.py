"""What is read without deciding anything: limits, counters, calls, the audit of the books."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

from chassis import database
from services.admission.domain.calls import CallKey, Reservation, State
from services.admission.domain.ledger import id_day_of
from services.admission.domain.limits import CounterKey, Limit, Metric
from services.admission.domain.windows import CalendarWindow, Period, Span
from services.admission.policy import PolicyCopy, parse_limit
from services.admission.queries import QUERIES


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterRow:
    """One counter as it stands."""

    key: CounterKey
    held: int
    settled: int
    overrun: int
    high_cap: int
    # Cap in force now; None if no limit applies to the counter any more.
    cap: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Discrepancy:
    """A counter whose sums differ from its reservations."""

    counter_id: uuid.UUID
    scope: str
    metric: Metric
    held: int
    expected_held: int
    settled: int
    expected_settled: int


class Books:
    """Reads; never changes anything."""

    def __init__(self, pool: database.Pool, policy: PolicyCopy) -> None:
        self._pool = pool
        self._policy = policy

    async def list_limits(self, *, after: str, count: int) -> list[Limit]:
        """Returns limits in order of their ids."""
        rows = await self._pool.fetch(QUERIES.select_limits_page.sql, after, count)
        return [parse_limit(dict(row)) for row in rows]

    async def list_counters(
        self, *, org: str | None, after: tuple[dt.datetime, uuid.UUID] | None, count: int
    ) -> list[CounterRow]:
        """Returns counters, newest window first."""
        start, counter_id = after or (None, None)
        await self._policy.reload()
        rows = await self._pool.fetch(
            QUERIES.select_counters_page.sql, org, start, counter_id, count
        )
        return [self._counter(row) for row in rows]

    async def find_reservations(self, keys: Sequence[CallKey]) -> list[Reservation | None]:
        """Returns what is known of each call, in order; None where nothing is."""
        rows = await self._pool.fetch(
            QUERIES.select_reservations.sql,
            [key.org for key in keys],
            [key.call_id for key in keys],
            [id_day_of(key.call_id) for key in keys],
        )
        known = {row["ordinal"]: _reservation(row) for row in rows}
        return [known.get(position) for position in range(1, len(keys) + 1)]

    async def audit(self) -> list[Discrepancy]:
        """Returns every counter that does not equal its reservations, in one snapshot."""
        rows = await self._pool.fetch(QUERIES.audit_counters.sql)
        return [
            Discrepancy(
                counter_id=row["counter_id"],
                scope=row["scope"],
                metric=Metric(row["metric"]),
                held=row["held"],
                expected_held=row["expected_held"],
                settled=row["settled"],
                expected_settled=row["expected_settled"],
            )
            for row in rows
        ]

    def _counter(self, row: asyncpg.Record) -> CounterRow:
        key = CounterKey(
            counter_id=row["counter_id"],
            rank=row["rank"],
            scope=tuple(json.loads(row["scope"]).items()),
            metric=Metric(row["metric"]),
            window=CalendarWindow(period=Period(row["period"]), time_zone=row["time_zone"]),
            span=Span(start=row["start_time"], end=row["end_time"]),
        )
        return CounterRow(
            key=key,
            held=row["held"],
            settled=row["settled"],
            overrun=row["overrun"],
            high_cap=row["high_cap"],
            cap=self._policy.limit_set.cap_of(key),
        )


def _reservation(row: asyncpg.Record) -> Reservation:
    return Reservation(
        key=CallKey(row["org"], row["call_id"]),
        fingerprint=b"",
        operation=row["operation"],
        provider=row["provider"],
        model=row["model"],
        held_nanos=row["held_nanos"],
        set_id=None,
        admit_time=row["admit_time"],
        expire_time=row["expire_time"],
        price_version=row["price_version"],
        breaker_epoch=row["breaker_epoch"],
        state=State(row["state"]),
    )
