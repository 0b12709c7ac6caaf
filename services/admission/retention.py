"""Keeps what the settlement horizon needs and forgets the rest, day by day."""

from __future__ import annotations

import datetime as dt
from typing import Final

from chassis import database
from services.admission.domain.ids import UNDATED
from services.admission.queries import QUERIES

# Reports that are older are refused, so what ended before is never asked for again.
HORIZON: Final = dt.timedelta(days=35)
# What the clocks of callers, and reports under way at the horizon, may be off by.
SLACK: Final = dt.timedelta(days=2)
# Rows that one statement forgets.
BATCH_SIZE: Final = 5_000


class Retention:
    """Creates partitions ahead, and drops old ones."""

    def __init__(self, pool: database.Pool) -> None:
        self._pool = pool

    async def read_clock(self) -> dt.datetime:
        """Returns the database's time."""
        instant: dt.datetime = await self._pool.fetchval(QUERIES.select_clock.sql)
        return instant

    async def create_partitions(self, now: dt.datetime, *, coming_day_count: int) -> None:
        """Makes today's partition and those of the coming days."""
        for distance in range(coming_day_count + 1):
            day = now.date() + dt.timedelta(days=distance)
            await self._pool.execute(QUERIES.ensure_ended_partition.sql, day)

    async def forget(self, now: dt.datetime) -> dict[str, int]:
        """Forgets what is past the horizon; returns how much that was."""
        before = now - HORIZON - SLACK
        old = await self._pool.fetch(QUERIES.select_old_partitions.sql, before.date())
        days = [row["day"] for row in old]
        counts = {"call_count": 0, "partition_count": 0}
        for day in (UNDATED, *days):
            counts["call_count"] += await self._repeat(QUERIES.forget_ended.sql, day, before)
        for day in days:
            dropped = await self._pool.fetchval(QUERIES.drop_ended_partition.sql, day)
            counts["partition_count"] += int(dropped)
        for name, query, until in (
            ("counter_count", QUERIES.delete_old_counters, before),
            # A call may have been extended for long after its set was used last.
            ("set_count", QUERIES.delete_old_sets, before - HORIZON),
            ("violation_count", QUERIES.delete_old_violations, before),
            ("crossing_count", QUERIES.delete_old_crossings, before),
        ):
            counts[name] = await self._repeat(query.sql, until)
        return counts

    async def _repeat(self, statement: str, *values: object) -> int:
        total = 0
        while count := int(await self._pool.fetchval(statement, *values, BATCH_SIZE)):
            total += count
        return total
