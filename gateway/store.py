"""The gateway's SQL. Each method runs the query of its name, except where it says otherwise."""

from __future__ import annotations

import abc
import datetime as dt
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import asyncpg

from chassis import database
from chassis.errors import Internal

SCHEMA: Final = "gateway"
SQL_DIRECTORY: Final = Path(__file__).parent / "sql"
MIGRATIONS_DIRECTORY: Final = SQL_DIRECTORY / "migrations"
QUERY_FILES: Final = (
    "queries_routes.sql",
    "queries_keys.sql",
    "queries_staff.sql",
    "queries_invitations.sql",
    "queries_audit.sql",
    "queries_templates.sql",
    "queries_http.sql",
    "queries_orgs.sql",
    "queries_approvals.sql",
    "queries_budgets.sql",
    "queries_flights.sql",
    "queries_oidc.sql",
    "queries_api_uses.sql",
)
# Above every position: the first page of a list that is read downwards.
TOP: Final = 2**63 - 1

# Quoted: it is generic for the type checker only.
_Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRecord:
    """One entry of the audit log with its outcome."""

    audit_id: str
    position: int
    create_time: dt.datetime
    actor: str
    action: str
    target: str
    request_json: str
    reason: str
    # None: nobody knows.
    done: bool | None
    error: str


def load_statements() -> Mapping[str, str]:
    """Returns the text of each named query."""
    statements: dict[str, str] = {}
    for file in QUERY_FILES:
        queries = database.load_queries(SQL_DIRECTORY / file)
        names = [name for name in queries.available_queries if not name.endswith("_cursor")]
        statements |= {name: getattr(queries, name).sql for name in names}
    return statements


class AuditWriter(abc.ABC):
    """Appends to the audit log, wherever its statements run."""

    @abc.abstractmethod
    async def value(self, query: str, *values: object) -> Any:
        """Runs a named query and returns the first value of its first row."""

    async def insert_audit_entry(
        self, *, actor: str, action: str, target: str, request_json: str, reason: str = ""
    ) -> str:
        """Appends an entry and returns its id."""
        values = (actor, action, target, request_json, reason)
        return str(await self.value("insert_audit_entry", *values))

    async def insert_audit_outcome(self, audit_id: str, *, error: str | None) -> None:
        """Appends what became of an entry: done if the error is None."""
        # A service may quote what it was sent; Postgres holds no NUL.
        text = (error or "").replace("\0", "\ufffd")
        await self.value("insert_audit_outcome", audit_id, error is None, text)


class Store(AuditWriter):
    """The audit log, each statement by itself on a pooled connection.

    What belongs to another noun has a module of its own, which runs its queries here.
    """

    def __init__(self, pool: database.Pool) -> None:
        self._pool = pool
        self._sql = load_statements()

    @asynccontextmanager
    async def transaction(self, *, keep: bool = True) -> AsyncIterator[Transaction]:
        """Opens a transaction that commits when the block ends well, if it is to `keep` that."""
        async with database.changing(self._pool, keep=keep) as connection:
            yield Transaction(connection, self._sql)

    async def row(self, query: str, *values: object) -> asyncpg.Record | None:
        """Runs a named query and returns its first row."""
        return await self._pool.fetchrow(self._sql[query], *values)

    async def rows(self, query: str, *values: object) -> list[asyncpg.Record]:
        """Runs a named query and returns its rows."""
        return await self._pool.fetch(self._sql[query], *values)

    async def value(self, query: str, *values: object) -> Any:
        """Runs a named query and returns the first value of its first row."""
        return await self._pool.fetchval(self._sql[query], *values)

    async def list_audit_entries(self, *, below: int, count_max: int) -> list[AuditRecord]:
        """Returns audit entries, newest first."""
        rows = await self.rows("list_audit_entries", below, count_max)
        return [_read_audit(row) for row in rows]


class Transaction(AuditWriter):
    """What changes, inside one transaction."""

    def __init__(self, connection: _Connection, sql: Mapping[str, str]) -> None:
        self._connection = connection
        self._sql = sql

    async def row(self, query: str, *values: object) -> asyncpg.Record | None:
        """Runs a named query and returns its first row."""
        return await self._connection.fetchrow(self._sql[query], *values)

    async def one(self, query: str, *values: object) -> asyncpg.Record:
        """Runs a named query that must find its row. Raises Internal."""
        row = await self.row(query, *values)
        if row is None:
            raise Internal
        return row

    async def value(self, query: str, *values: object) -> Any:
        """Runs a named query and returns the first value of its first row."""
        return await self._connection.fetchval(self._sql[query], *values)

    async def lock_audit(self) -> None:
        """Queues behind whoever writes to the audit log."""
        await self.value("lock_audit")


def _read_audit(row: asyncpg.Record) -> AuditRecord:
    return AuditRecord(
        audit_id=str(row["audit_id"]),
        position=row["position"],
        create_time=row["create_time"],
        actor=row["actor"],
        action=row["action"],
        target=row["target"],
        request_json=row["request_json"],
        reason=row["reason"],
        done=row["done"],
        error=row["error"] or "",
    )
