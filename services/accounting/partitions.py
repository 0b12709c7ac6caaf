"""The usage log's partitions: one for each day of admission in UTC."""

from __future__ import annotations

import datetime as dt
from typing import Final

import asyncpg
import structlog
from asyncpg.pool import PoolConnectionProxy

from chassis.database import Connection
from services.accounting.queries import QUERIES

# Days beyond today that are prepared, so that no booking has to make its own.
DAYS_AHEAD: Final = 7

log = structlog.get_logger()


async def ensure_partition(
    connection: Connection | PoolConnectionProxy[asyncpg.Record],
    day: dt.date,
    *,
    days_back: int,
    days_ahead: int,
) -> bool:
    """Makes the day's partition unless it exists.

    Returns whether it is there now: false if the day is too far from the database's today.
    """
    present: bool = await connection.fetchval(
        QUERIES.ensure_partition.sql, day, days_back, days_ahead
    )
    return present


async def ensure_coming_days(
    connection: Connection | PoolConnectionProxy[asyncpg.Record],
) -> None:
    """Makes the partitions of today and the coming days, unless they exist."""
    today: dt.date = await connection.fetchval(QUERIES.fetch_today.sql)
    for days in range(DAYS_AHEAD + 1):
        day = today + dt.timedelta(days=days)
        # One more, in case that midnight has just passed.
        await ensure_partition(connection, day, days_back=1, days_ahead=DAYS_AHEAD)
        log.info("partition_ensured", day=str(day), number=days + 1, of=DAYS_AHEAD + 1)
    log.info("partitions_ensured", first_day=str(today), days=DAYS_AHEAD + 1)
