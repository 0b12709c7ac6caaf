"""The gateway's SQL. Each method runs the query of its name, except where it says otherwise."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import asyncpg

from chassis import database
from gateway.auth import StoredKey
from gateway.domain.calls import Candidate, Route
from gateway.keys import Principal, Role

SCHEMA: Final = "gateway"
SQL_DIRECTORY: Final = Path(__file__).parent / "sql"
MIGRATIONS_DIRECTORY: Final = SQL_DIRECTORY / "migrations"
# Above every position: the first page of a list that is read downwards.
TOP: Final = 2**63 - 1

# Quoted: it is generic for the type checker only.
_Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """What may be shown of a key."""

    key_id: str
    name: str
    role: Role
    orgs: tuple[str, ...]
    create_time: dt.datetime
    revoke_time: dt.datetime | None
    # Place in the list, ascending with time. 0 where it was not asked for.
    position: int = 0


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
    # None: nobody knows.
    done: bool | None
    error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteBook:
    """All routes at one version."""

    version: int
    routes: tuple[Route, ...]


def load_statements() -> Mapping[str, str]:
    """Returns the text of each named query."""
    queries = database.load_queries(SQL_DIRECTORY / "queries.sql")
    names = [name for name in queries.available_queries if not name.endswith("_cursor")]
    return {name: getattr(queries, name).sql for name in names}


class Store:
    """Keys, routes and the audit log, each statement by itself on a pooled connection."""

    def __init__(self, pool: database.Pool) -> None:
        self._pool = pool
        self._sql = load_statements()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Opens a transaction that commits when the block ends well."""
        async with self._pool.acquire() as connection, connection.transaction():
            yield Transaction(connection, self._sql)

    async def fetch_key(self, key_id: str) -> StoredKey | None:
        """Returns a key by its public part, revoked or not."""
        row = await self._pool.fetchrow(self._sql["fetch_key"], key_id)
        if row is None:
            return None
        principal = Principal(
            key_id=row["key_id"], role=Role(row["role"]), orgs=frozenset(row["orgs"])
        )
        return StoredKey(
            principal=principal, key_hash=row["key_hash"], revoked=row["revoke_time"] is not None
        )

    async def fetch_key_version(self) -> int:
        """Returns the version of the keys."""
        version: int = await self._pool.fetchval(self._sql["fetch_key_version"])
        return version

    async def list_keys(self, *, below: int, count_max: int) -> list[KeyRecord]:
        """Returns keys, newest first."""
        rows = await self._pool.fetch(self._sql["list_keys"], below, count_max)
        return [_read_key(row, position=row["position"]) for row in rows]

    async def fetch_route_version(self) -> int:
        """Returns the version of the routes."""
        version: int = await self._pool.fetchval(self._sql["fetch_route_version"])
        return version

    async def list_all_routes(self) -> RouteBook:
        """Returns every route, in one snapshot with its version."""
        rows = await self._pool.fetch(self._sql["list_all_routes"])
        routes = tuple(_read_route(row) for row in rows if row["operation"] is not None)
        return RouteBook(version=rows[0]["version"], routes=routes)

    async def list_routes(self, *, after: str, count_max: int) -> list[Route]:
        """Returns routes in order of their operations."""
        rows = await self._pool.fetch(self._sql["list_routes"], after, count_max)
        return [_read_route(row) for row in rows]

    async def list_audit_entries(self, *, below: int, count_max: int) -> list[AuditRecord]:
        """Returns audit entries, newest first."""
        rows = await self._pool.fetch(self._sql["list_audit_entries"], below, count_max)
        return [_read_audit(row) for row in rows]


class Transaction:
    """What changes, inside one transaction."""

    def __init__(self, connection: _Connection, sql: Mapping[str, str]) -> None:
        self._connection = connection
        self._sql = sql

    async def insert_key(
        self, *, key_id: str, name: str, role: Role, orgs: Sequence[str], key_hash: bytes
    ) -> KeyRecord | None:
        """Stores a key; runs `bump_key_version` first. None: its public part exists."""
        await self._connection.fetchval(self._sql["bump_key_version"])
        row = await self._connection.fetchrow(
            self._sql["insert_key"], key_id, name, role.value, list(orgs), key_hash
        )
        return None if row is None else _read_key(row)

    async def revoke_key(self, key_id: str) -> KeyRecord | None:
        """Revokes a key; runs `bump_key_version` first. None: there is no such key."""
        await self._connection.fetchval(self._sql["bump_key_version"])
        row = await self._connection.fetchrow(self._sql["revoke_key"], key_id)
        return None if row is None else _read_key(row)

    async def put_route(self, route: Route) -> None:
        """Creates or replaces a route; runs `bump_route_version` first."""
        await self._connection.fetchval(self._sql["bump_route_version"])
        await self._connection.execute(self._sql["put_route"], *_write_route(route))

    async def insert_route(self, route: Route) -> bool:
        """Creates a route unless there is one; runs `bump_route_version` first."""
        await self._connection.fetchval(self._sql["bump_route_version"])
        query = self._sql["insert_route"]
        return await self._connection.fetchval(query, *_write_route(route)) is not None

    async def delete_route(self, operation: str) -> bool:
        """Deletes a route, and says whether there was one; runs `bump_route_version` first."""
        await self._connection.fetchval(self._sql["bump_route_version"])
        query = self._sql["delete_route"]
        return await self._connection.fetchval(query, operation) is not None

    async def insert_audit_entry(
        self, *, actor: str, action: str, target: str, request_json: str
    ) -> str:
        """Appends an entry and returns its id."""
        query = self._sql["insert_audit_entry"]
        return str(await self._connection.fetchval(query, actor, action, target, request_json))

    async def insert_audit_outcome(self, audit_id: str, *, error: str | None) -> None:
        """Appends what became of an entry: done if the error is None."""
        query = self._sql["insert_audit_outcome"]
        await self._connection.execute(query, audit_id, error is None, error or "")


def _read_key(row: asyncpg.Record, *, position: int = 0) -> KeyRecord:
    return KeyRecord(
        key_id=row["key_id"],
        name=row["name"],
        role=Role(row["role"]),
        orgs=tuple(row["orgs"]),
        create_time=row["create_time"],
        revoke_time=row["revoke_time"],
        position=position,
    )


def _read_route(row: asyncpg.Record) -> Route:
    pairs = zip(row["providers"], row["models"], strict=True)
    return Route(
        operation=row["operation"],
        candidates=tuple(Candidate(provider=provider, model=model) for provider, model in pairs),
        default_max_output_token_count=row["default_max_output_token_count"],
        fallback_text=row["fallback_text"],
        hold_seconds=row["hold_seconds"],
    )


def _write_route(route: Route) -> tuple[object, ...]:
    return (
        route.operation,
        [candidate.provider for candidate in route.candidates],
        [candidate.model for candidate in route.candidates],
        route.default_max_output_token_count,
        route.fallback_text,
        route.hold_seconds,
    )


def _read_audit(row: asyncpg.Record) -> AuditRecord:
    return AuditRecord(
        audit_id=str(row["audit_id"]),
        position=row["position"],
        create_time=row["create_time"],
        actor=row["actor"],
        action=row["action"],
        target=row["target"],
        request_json=row["request_json"],
        done=row["done"],
        error=row["error"] or "",
    )
