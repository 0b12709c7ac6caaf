"""Compares the rollups of a day with the usage log, and rebuilds what differs."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from chassis.database import Connection
from services.accounting.queries import VERIFICATION


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A rollup that is not the sum of its log; see the table `rollup` for its key."""

    level: int
    org: str
    hour: int
    dimension: str
    value: str
    operation: str
    provider: str
    model: str
    logged_count: int
    rolled_up_count: int
    logged_nanos: int
    rolled_up_nanos: int


async def list_days(connection: Connection, *, days_back: int) -> list[dt.date]:
    """Returns the past days, at most so many back, that have a partition of the log."""
    rows = await connection.fetch(VERIFICATION.list_log_days.sql, days_back)
    return [row["day"] for row in rows]


async def find_differences(connection: Connection, day: dt.date) -> list[Difference]:
    """Returns the rollups of a day that differ from the log, in one snapshot."""
    return [
        Difference(
            level=row["level"],
            org=row["org"],
            hour=row["hour"],
            dimension=row["dimension"],
            value=row["value"],
            operation=row["operation"],
            provider=row["provider"],
            model=row["model"],
            logged_count=row["logged_count"],
            rolled_up_count=row["rolled_up_count"],
            logged_nanos=int(row["logged_nanos"]),
            rolled_up_nanos=int(row["rolled_up_nanos"]),
        )
        for row in await connection.fetch(VERIFICATION.list_rollup_differences.sql, day)
    ]


async def rebuild(connection: Connection, day: dt.date) -> None:
    """Makes a day's rollups the sums of its log. Bookings of that day wait meanwhile."""
    async with connection.transaction():
        await connection.execute(VERIFICATION.insert_missing_rollups.sql, day)
    async with connection.transaction():
        # The locks of a booking, in its order; what follows sees all that was committed before.
        await connection.execute(VERIFICATION.lock_rollups.sql, day)
        await connection.execute(VERIFICATION.repair_rollups.sql, day)
        await connection.execute(VERIFICATION.delete_unfounded_rollups.sql, day)
    async with connection.transaction():
        await connection.execute(VERIFICATION.lock_bounds.sql, day)
        await connection.execute(VERIFICATION.recount_bounds.sql, day)
