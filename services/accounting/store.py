"""The usage log and its rollups in Postgres."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import asyncpg

from chassis.database import Connection, Pool
from services.accounting.domain.meters import METER_FIELDS, NO_METERS
from services.accounting.domain.usage import (
    HORIZON,
    Booking,
    CostBasis,
    Entry,
    FeedPosition,
    Refusal,
    Report,
    Settlement,
)
from services.accounting.names import Names
from services.accounting.partitions import ensure_partition
from services.accounting.queries import BOOKS, QUERIES

# Admission's clock is another database's: it may be this far ahead of ours.
REPLAY_PART_SIZE: Final = 1_000
# Sorts after every text: names are printable.
_LAST_TEXT: Final = "\U0010ffff"
CLOCK_SKEW: Final = dt.timedelta(minutes=5)
# Status that `book_calls` gives to a member that an earlier Record wrote.
_REPLAYED: Final = 2
# Distinct values of one dimension, org and day that have rollups of their own; the calls of the
# others are summed together.
VALUE_COUNT_MAX: Final = 1_000
# Meters with a field in a `booked_call`; the rarer ones go together.
_COMMON_METER_COUNT: Final = 6
_NO_UNITS: Final = NO_METERS[_COMMON_METER_COUNT:]

Result: TypeAlias = Booking | Refusal
Connect: TypeAlias = Callable[[], Awaitable[Connection]]


class LogWriter:
    """Writes batches to the usage log, one at a time, on a connection of its own.

    Not safe for concurrent use: the batcher in front keeps one batch in flight.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._connection: Connection | None = None
        # Days that have a partition for certain.
        self._known_days: set[dt.date] = set()
        self._names = Names()

    async def write(self, entries: Sequence[Entry]) -> list[Result]:
        """Books all entries in one transaction; returns one result for each, in order.

        Raises what the driver raises, and then nothing was booked, unless the connection was lost:
        then nobody knows, and writing the same entries again is safe.
        """
        connection = await self._open()
        await self._ensure_partitions(connection, entries)
        kind_ids, caller_ids = await self._names.find(connection, entries)
        calls = list(map(_row, entries, kind_ids, caller_ids))
        arguments = (calls, VALUE_COUNT_MAX, HORIZON, CLOCK_SKEW)
        try:
            rows = await connection.fetch(QUERIES.book_calls.sql, *arguments)
        except asyncpg.CheckViolationError as error:
            if error.constraint_name is not None:
                raise
            # No constraint is named when a partition that was there is gone: look again, once.
            self._known_days.clear()
            await self._ensure_partitions(connection, entries)
            rows = await connection.fetch(QUERIES.book_calls.sql, *arguments)
        results: list[Result] = [
            Booking(
                entry.charge.total_nanos,
                entry.charge.basis,
                revision=1,
                first=True,
                token_count=entry.report.meters.token_total,
            )
            for entry in entries
        ]
        for place, status, total_nanos, cost_basis, revision, token_count in rows:
            results[place - 1] = (
                Booking(
                    total_nanos,
                    CostBasis(cost_basis),
                    revision=revision,
                    first=False,
                    token_count=token_count,
                )
                if status == _REPLAYED
                else Refusal(status)
            )
        return results

    async def reset(self) -> None:
        """Drops the connection; the next write opens a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def close(self) -> None:
        """Closes the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _open(self) -> Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await self._connect()
            # The server may have been restored to a time before it gave the ids.
            self._names = Names()
        return self._connection

    async def _ensure_partitions(self, connection: Connection, entries: Sequence[Entry]) -> None:
        # Days outside of the horizon get no partition; their entries are refused anyway.
        days = {entry.report.admit_time.date() for entry in entries}
        for day in sorted(days - self._known_days):
            if await ensure_partition(connection, day, days_back=HORIZON.days + 1, days_ahead=1):
                self._known_days.add(day)


class UsageStore:
    """Reads the usage log."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def check(self) -> None:
        """Returns if the database answers and has the schema; raises what the driver raises."""
        await self._pool.fetchval(QUERIES.fetch_book_version.sql)

    async def replay(
        self, *, start: dt.datetime, end: dt.datetime, org: str
    ) -> AsyncIterator[ReplayedPart]:
        """Yields the calls admitted in an interval, in one snapshot; at least one part."""
        arguments = (start, end, org, org or _LAST_TEXT)
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            total = await connection.fetchval(BOOKS.count_calls.sql, *arguments)
            cursor = await connection.cursor(BOOKS.replay_usage.sql, *arguments)
            while True:
                rows = await cursor.fetch(REPLAY_PART_SIZE)
                if rows or not total:
                    yield ReplayedPart(rows=rows, total_count=total)
                if len(rows) < REPLAY_PART_SIZE:
                    return

    async def list_settlements(self, after: FeedPosition, limit: int) -> list[Settlement]:
        """Returns the rows after a position in feed order, at most `limit`.

        Rows of transactions that may still be overtaken are held back, never lost.
        """
        rows = await self._pool.fetch(QUERIES.list_settlements.sql, *after, limit)
        return [
            Settlement(FeedPosition(row[0], row[1]), row[2], row[3], row[4], row[5], row[6])
            for row in rows
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedPart:
    """Some booked calls, in order of admission."""

    # The columns of the query `replay_usage`.
    rows: Sequence[asyncpg.Record]
    # Calls in the whole interval.
    total_count: int


def _row(entry: Entry, kind_id: int, caller_id: int) -> tuple[Any, ...]:
    """Returns a `booked_call`."""
    report, charge = entry.report, entry.charge
    return (
        report.org,
        report.call_id,
        report.parent_call_id,
        report.admit_time,
        report.operation,
        report.provider,
        report.model,
        report.api_key_id,
        json.dumps(dict(report.labels)) if report.labels else None,
        report.outcome.value,
        charge.basis.value,
        report.price_version,
        report.held_nanos,
        charge.total_nanos,
        *report.meters[:_COMMON_METER_COUNT],
        report.latency_ms,
        report.error_type or None,
        entry.digest,
        report.team or None,
        report.user or None,
        report.session or None,
        report.feature or None,
        report.priority or None,
        report.held_token_count,
        report.service_tier or None,
        entry.baseline_nanos,
        _rarities(report),
        kind_id,
        caller_id,
    )


def _rarities(report: Report) -> str | None:
    rarer = report.meters[_COMMON_METER_COUNT:]
    if rarer == _NO_UNITS and not report.approved:
        return None
    known = zip(METER_FIELDS[_COMMON_METER_COUNT:], rarer, strict=True)
    found: dict[str, int | bool] = {name: count for name, count in known if count is not None}
    if report.approved:
        found["approved"] = True
    return json.dumps(found)
