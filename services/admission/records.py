"""What has happened to limits: violations and crossings, page by page. Reads only."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import asyncpg

from chassis import database
from services.admission.queries import QUERIES

# Transaction and row: where a reader of the feed stands.
FeedPosition: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ViolationQuery:
    """Which violations are asked for."""

    # Empty: of all.
    limit_id: str
    org: str
    # Minute, limit, org, shadow: where the last page ended. None: the first page.
    after: tuple[dt.datetime, str, str, bool] | None
    size: int


class Records:
    """Reads violations and crossings."""

    def __init__(self, pool: database.Pool) -> None:
        self._pool = pool

    async def list_violations(
        self, query: ViolationQuery
    ) -> tuple[Sequence[asyncpg.Record], Sequence[asyncpg.Record]]:
        """Returns counts, newest minute first and one more than asked for if there are more, and
        the newest samples if one limit was asked for.
        """
        cursor = query.after or (None, "", "", False)
        counts = await self._pool.fetch(
            QUERIES.select_violations_page.sql, query.limit_id, query.org, *cursor, query.size + 1
        )
        if not query.limit_id:
            return counts, ()
        samples = await self._pool.fetch(QUERIES.select_samples.sql, query.limit_id, query.org)
        return counts, samples

    async def list_crossings(self, after: FeedPosition, count: int) -> Sequence[asyncpg.Record]:
        """Returns what comes after a position of the feed of crossings, in its order."""
        return await self._pool.fetch(QUERIES.list_crossings.sql, *after, count)

    async def sum_violations(
        self, start: dt.datetime, end: dt.datetime, *, org: str
    ) -> tuple[int, int]:
        """Returns how many calls were denied in an interval, and what they asked to hold."""
        (row,) = await self._pool.fetch(QUERIES.sum_violations.sql, start, end, org)
        return row["call_count"], int(row["requested_nanos"])
