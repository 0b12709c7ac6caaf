"""Audits the books, guarantee by guarantee. Repairs nothing."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg

from chassis import database
from services.admission.domain.limits import Metric
from services.admission.queries import QUERIES

# Millions of calls take a while.
SECONDS_MAX: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Discrepancy:
    """A counter, or a slot of a rolling one, whose sums differ from its calls."""

    counter_id: uuid.UUID
    scope: str
    metric: Metric
    held: int
    expected_held: int
    settled: int
    expected_settled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What was found. Empty where a guarantee holds; numbers are those of docs/guarantees.md."""

    # 1 and 4: settled + held within cap and overrun, and equal to the calls.
    counters: Sequence[Discrepancy] = ()
    # 5: each call is open or has ended, once.
    doubled_calls: Sequence[str] = ()
    # 6: no hold outlives its time by more than the grace.
    overdue_calls: Sequence[str] = ()
    # 3: every hold knows the counters that it counts on.
    orphaned_calls: Sequence[str] = ()
    # Charged beyond holds, by metric. Allowed; shown.
    overrun: dict[Metric, int] = field(default_factory=dict)

    def counts(self) -> dict[int, int]:
        """Returns how often each guarantee is broken."""
        return {
            3: len(self.orphaned_calls),
            4: len(self.counters),
            5: len(self.doubled_calls),
            6: len(self.overdue_calls),
        }

    @property
    def is_clean(self) -> bool:
        """True if every guarantee holds."""
        return not any(self.counts().values())


async def audit(pool: database.Pool, *, grace: dt.timedelta) -> Audit:
    """Looks at everything in one snapshot, however long that takes."""
    async with (
        pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        await connection.execute("SET LOCAL statement_timeout = 0")

        async def fetch(query: Any, *values: object) -> list[asyncpg.Record]:
            return await connection.fetch(query.sql, *values, timeout=SECONDS_MAX)

        found = [*await fetch(QUERIES.audit_counters), *await fetch(QUERIES.audit_rolling)]
        return Audit(
            counters=[_discrepancy(row) for row in found],
            doubled_calls=_names(await fetch(QUERIES.audit_calls)),
            overdue_calls=_names(await fetch(QUERIES.audit_expiry, grace)),
            orphaned_calls=_names(await fetch(QUERIES.audit_sets)),
            overrun={
                Metric(row["metric"]): int(row["overrun"])
                for row in await fetch(QUERIES.audit_overrun)
            },
        )


async def put_results(pool: database.Pool, found: Audit) -> None:
    """Stores how often each guarantee is broken, for the servers' metrics."""
    counts = found.counts()
    await pool.execute(QUERIES.put_audit_results.sql, list(counts), list(counts.values()))


async def read_results(pool: database.Pool) -> dict[int, tuple[int, dt.datetime]]:
    """Returns how often each guarantee was broken at the last audit, and when that was."""
    rows = await pool.fetch(QUERIES.select_audit_results.sql)
    return {row["guarantee"]: (row["difference_count"], row["audit_time"]) for row in rows}


def _names(rows: Sequence[asyncpg.Record]) -> list[str]:
    return [f"{row['org']}/{row['call_id']}" for row in rows]


def _discrepancy(row: asyncpg.Record) -> Discrepancy:
    return Discrepancy(
        counter_id=row["counter_id"],
        scope=row["scope"],
        metric=Metric(row["metric"]),
        held=row["held"],
        expected_held=row["expected_held"],
        settled=row["settled"],
        expected_settled=row["expected_settled"],
    )
