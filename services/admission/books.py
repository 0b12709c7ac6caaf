"""What is read without deciding anything: limits, counters, calls."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from chassis import database
from services.admission.counter_rows import counter_of, key_of
from services.admission.domain.bindings import CounterKey
from services.admission.domain.calls import CallKey, Reservation, State
from services.admission.domain.counters import Counter
from services.admission.domain.fences import Fence
from services.admission.domain.ids import day_bounds, id_day_of
from services.admission.domain.limits import Limit
from services.admission.policy import PolicyCopy
from services.admission.queries import QUERIES
from services.admission.rows import fence_of, limit_of


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterRow:
    """One counter as it stands."""

    key: CounterKey
    counter: Counter
    # Limit that gives the cap in force now; None if no limit applies to the counter any more.
    limit: Limit | None


class Books:
    """Reads; never changes anything."""

    def __init__(self, pool: database.Pool, policy: PolicyCopy) -> None:
        self._pool = pool
        self._policy = policy

    async def read_clock(self) -> dt.datetime:
        """Returns the database's time."""
        instant: dt.datetime = await self._pool.fetchval(QUERIES.select_clock.sql)
        return instant

    async def list_limits(self, *, after: str, count: int, limit_id: str = "") -> list[Limit]:
        """Returns limits in order of their ids; those that make no sense are left out.

        `limit_id`: only that one.
        """
        await self._policy.reload()
        rows = await self._pool.fetch(QUERIES.select_limits_page.sql, after, count, limit_id)
        invalid = self._policy.invalid_limits
        return [limit_of(dict(row)) for row in rows if row["limit_id"] not in invalid]

    async def list_fences(self, *, after: str, count: int) -> list[Fence]:
        """Returns fences that are set, in order of their ids."""
        rows = await self._pool.fetch(QUERIES.select_fences_page.sql, after, count)
        return [fence_of(dict(row)) for row in rows]

    async def list_counters(
        self, *, org: str | None, after: tuple[dt.datetime, uuid.UUID] | None, count: int
    ) -> list[CounterRow]:
        """Returns counters, newest window first."""
        start, counter_id = after or (None, None)
        await self._policy.reload()
        now = await self.read_clock()
        rows = await self._pool.fetch(
            QUERIES.select_counters_page.sql, org, start, counter_id, count
        )
        return [self._counter(row, now) for row in rows]

    async def read_counters(self, counter_ids: Collection[uuid.UUID]) -> dict[uuid.UUID, Counter]:
        """Returns counters by id as they stand; those that never counted anything are missing."""
        rows = await self._pool.fetch(QUERIES.select_counters.sql, list(counter_ids))
        return {row["counter_id"]: counter_of(row) for row in rows}

    async def find_reservations(self, keys: Sequence[CallKey]) -> list[Reservation | None]:
        """Returns what is known of each call, in order; None where nothing is."""
        days = [id_day_of(key.call_id) for key in keys]
        rows = await self._pool.fetch(
            QUERIES.select_reservations.sql,
            [key.org for key in keys],
            [key.call_id for key in keys],
            days,
            *day_bounds(days),
        )
        known = {row["ordinal"]: _reservation(row) for row in rows}
        return [known.get(position) for position in range(1, len(keys) + 1)]

    def _counter(self, row: asyncpg.Record, now: dt.datetime) -> CounterRow:
        key, counter = key_of(row), counter_of(row)
        counter.roll(now)
        return CounterRow(
            key=key, counter=counter, limit=self._policy.limit_set.limit_of(key, now)
        )


def _reservation(row: Any) -> Reservation:
    return Reservation(
        key=CallKey(row["org"], row["call_id"]),
        fingerprint=b"",
        operation=row["operation"],
        provider=row["provider"],
        model=row["model"],
        held_nanos=row["held_nanos"],
        held_tokens=row["held_tokens"],
        set_id=None,
        admit_time=row["admit_time"],
        expire_time=row["expire_time"],
        price_version=row["price_version"],
        breaker_epoch=row["breaker_epoch"],
        state=State(row["state"]),
    )
