"""Looks at the books all through a run, in snapshots of its own, past every proxy."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

import asyncpg

PAUSE_SECONDS: Final = 0.05
# Guarantee 1, on every counter; guarantee 4's half that is cheap to see while calls go on.
OVERSPENT: Final = """
    SELECT counter_id::text, scope::text, metric, held, settled, overrun, high_cap
    FROM admission.counter
    WHERE settled + held > high_cap + overrun OR held < 0 OR settled < 0
"""
# A hold is on all of its call's counters or on none.
MISCOUNTED: Final = """
    SELECT c.counter_id::text, c.scope::text, c.metric, c.held, coalesce(o.held, 0) AS expected
    FROM admission.counter AS c
    LEFT JOIN (
        SELECT u.counter_id, count(*) AS calls, sum(r.held_nanos) AS nanos
        FROM admission.reservation AS r
        INNER JOIN admission.counter_set AS s ON r.set_id = s.set_id
        CROSS JOIN LATERAL unnest(s.counter_ids) AS u (counter_id)
        GROUP BY u.counter_id
    ) AS n ON c.counter_id = n.counter_id
    CROSS JOIN LATERAL (
        SELECT CASE WHEN c.metric IN (1, 4) THEN n.calls ELSE n.nanos END AS held
    ) AS o
    -- Rolling windows hold what was admitted within them, buckets nothing.
    WHERE c.window_kind NOT IN (2, 3) AND c.held <> coalesce(o.held, 0)
"""
BUSY: Final = "SELECT count(*) FROM admission.reservation"


@dataclass(slots=True)
class Samples:
    """What was seen."""

    count: int = 0
    # Snapshots in which something was held: the others prove little.
    busy_count: int = 0
    findings: list[str] = field(default_factory=list)


@contextlib.asynccontextmanager
async def sampling(database_url: str) -> AsyncIterator[Samples]:
    """Takes samples beside the block; a database that is away is asked again."""
    samples, stop = Samples(), asyncio.Event()
    task = asyncio.create_task(_sample(database_url, samples, stop))
    try:
        yield samples
    finally:
        stop.set()
        await task


async def _sample(database_url: str, samples: Samples, stop: asyncio.Event) -> None:
    while not stop.is_set():
        try:
            connection = await asyncpg.connect(database_url, timeout=5, command_timeout=10)
        except (OSError, TimeoutError, asyncpg.PostgresError):
            await asyncio.sleep(PAUSE_SECONDS)
            continue
        try:
            while not stop.is_set():
                await _look(connection, samples)
                await asyncio.sleep(PAUSE_SECONDS)
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            continue
        finally:
            connection.terminate()


async def _look(connection: asyncpg.Connection[asyncpg.Record], samples: Samples) -> None:
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        overspent = await connection.fetch(OVERSPENT)
        miscounted = await connection.fetch(MISCOUNTED)
        busy = await connection.fetchval(BUSY)
    samples.count += 1
    samples.busy_count += bool(busy)
    samples.findings += [f"overspent: {dict(row)}" for row in overspent]
    samples.findings += [f"held is not the sum of open holds: {dict(row)}" for row in miscounted]
