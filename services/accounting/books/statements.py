"""Closes months: a statement is written once and never changes, corrections go to the next."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from chassis.database import Pool
from chassis.errors import FailedPrecondition, NotFound
from services.accounting.alerts.outbox import write_event
from services.accounting.domain.events import Event
from services.accounting.queries import STATEMENTS

# Days after a month's end when the job closes it: late reports are mostly in by then.
GRACE_DAYS: Final = 3
STATEMENT_COUNT_MAX: Final = 1_000
LINE_COUNT_MAX: Final = 10_000
_CLOSED, _NOT_ENDED, _OUT_OF_ORDER = 1, 3, 4
_ONE_DAY: Final = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """Sums of a closed month, of an org or the platform."""

    # Its first day.
    month: dt.date
    close_time: dt.datetime
    call_count: int
    cost_nanos: int
    # The part that corrects earlier months.
    correction_nanos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LineQuery:
    """Which lines of a statement to list."""

    month: dt.date
    # Empty: the platform.
    org: str
    # Month of usage, org, operation, provider and model of the line before.
    after: tuple[dt.date, str, str, str, str] = (dt.date.min, "", "", "", "")
    limit: int = LINE_COUNT_MAX


class Statements:
    """Closed months and what they charge."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def close(self, month: dt.date, *, audit_id: str) -> tuple[Statement, bool]:
        """Closes an ended month; returns the platform's statement and whether this closed it.

        A closed month stays as it is. Raises FailedPrecondition for a month that has not ended, or
        before which another one is open.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            status = await connection.fetchval(STATEMENTS.close_month.sql, month, audit_id)
            if status in (_NOT_ENDED, _OUT_OF_ORDER):
                why = "has not ended" if status == _NOT_ENDED else "has open ones before it"
                message = f"{month:%Y-%m} {why}: close months in their order, when they are over"
                raise FailedPrecondition(message, "MONTH_NOT_CLOSABLE", month=f"{month:%Y-%m}")
            row = await connection.fetchrow(
                STATEMENTS.list_statements.sql, "", month + _ONE_DAY, 1
            )
            if row is None or row["month"] != month:
                # Nothing was used in it or before it, and later ones are closed.
                raise NotFound("statement", f"{month:%Y-%m}")
            statement = _statement(row)
            if status == _CLOSED:
                await write_event(connection, _describe(statement))
        return statement, status == _CLOSED

    async def list_open(self) -> list[dt.date]:
        """Returns the months that the job closes now, in order."""
        rows = await self._pool.fetch(STATEMENTS.list_open_months.sql, GRACE_DAYS)
        return [row["month"] for row in rows]

    async def list_statements(self, org: str) -> list[Statement]:
        """Returns the statements of an org, or the platform's, newest first."""
        rows = await self._pool.fetch(
            STATEMENTS.list_statements.sql, org, dt.date.max, STATEMENT_COUNT_MAX
        )
        return [_statement(row) for row in rows]

    async def list_lines(self, query: LineQuery) -> Sequence[asyncpg.Record]:
        """Returns lines of a statement. Raises NotFound if the month is not closed."""
        month, org = query.month, query.org
        closed = await self._pool.fetch(STATEMENTS.list_statements.sql, org, month + _ONE_DAY, 1)
        if not closed or closed[0]["month"] != month:
            raise NotFound("statement", f"{month:%Y-%m}")
        return await self._pool.fetch(
            STATEMENTS.list_statement_lines.sql, month, org, query.limit, *query.after
        )


def _statement(row: asyncpg.Record) -> Statement:
    return Statement(
        month=row["month"],
        close_time=row["close_time"],
        call_count=row["call_count"],
        cost_nanos=int(row["cost_nanos"]),
        correction_nanos=int(row["correction_nanos"]),
    )


def _describe(statement: Statement) -> Event:
    month = f"{statement.month:%Y-%m}"
    return Event(
        type="period.closed",
        org="",
        subject=f"period/{month}",
        title=f"{month} is closed",
        data={
            "period": month,
            "cost_nanos": statement.cost_nanos,
            "correction_nanos": statement.correction_nanos,
            "call_count": statement.call_count,
        },
    )
