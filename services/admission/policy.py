"""The limits and fences in force: this process's copy, and their changes.

A change takes the policy lock exclusively, so when it returns no older decision is in flight and
the next batch on any replica reads the new version.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

import asyncpg
import structlog

from chassis import database
from chassis.errors import AlreadyExists, NotFound
from services.admission.domain.limits import Binding, Fence, Limit, LimitSet, Metric
from services.admission.domain.windows import CalendarWindow, Period, zone_named
from services.admission.queries import QUERIES

log = structlog.get_logger()

# Quoted: generic for the type checker only.
Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

# Beyond this many scopes the copy of bindings starts over: it is a cache, nothing depends on it.
BINDING_COUNT_MAX: Final = 50_000
# A fence that waits longer ends the sessions that it waits for.
FENCE_PATIENCE_MS: Final = 30
FENCE_WAIT_MS: Final = 2_000


class PolicyCopy:
    """This process's copy of the limits and fences, with the bindings made from it."""

    def __init__(self, pool: database.Pool) -> None:
        self._pool = pool
        self._bindings: dict[str, Binding] = {}
        self.limit_set = LimitSet(version=0, limits=(), fences=())
        # Limits that could not be read; they bind nobody, and the others go on.
        self.invalid_limit_ids: tuple[str, ...] = ()

    async def reload(self) -> None:
        """Reads the newest version from the database."""
        (row,) = await self._pool.fetch(QUERIES.select_policy.sql)
        limits, invalid = [], []
        for fields in json.loads(row["limits"]):
            try:
                limits.append(parse_limit(fields))
            except ValueError as error:
                invalid.append(fields["limit_id"])
                log.error("limit_disabled", limit_id=fields["limit_id"], error=str(error))
        fences = tuple(Fence(**fields) for fields in json.loads(row["fences"]))
        self.limit_set = LimitSet(version=row["version"], limits=tuple(limits), fences=fences)
        self.invalid_limit_ids = tuple(invalid)
        self._bindings.clear()

    def binding(self, org: str, instant: dt.datetime) -> Binding:
        """Returns the limits that apply to calls of `org` at `instant`."""
        binding = self._bindings.get(org)
        if binding is None or not binding.valid_from <= instant < binding.valid_until:
            if len(self._bindings) >= BINDING_COUNT_MAX:
                self._bindings.clear()
            binding = self._bindings[org] = self.limit_set.bind({"org": org}, instant)
        return binding


class Policy:
    """Writes limits and fences."""

    def __init__(self, pool: database.Pool) -> None:
        self._pool = pool

    async def put_limit(self, limit: Limit, *, audit_id: str) -> int:
        """Creates or replaces a limit; returns the version from which on it binds."""

        async def change(connection: Connection) -> None:
            before = await connection.fetchval(QUERIES.select_limit.sql, limit.limit_id)
            fields = render_limit(limit)
            try:
                await connection.execute(QUERIES.upsert_limit.sql, *fields.values())
            except asyncpg.UniqueViolationError as error:
                raise AlreadyExists(
                    "another limit has the same scope, metric and window; change that one",
                    reason="LIMIT_EXISTS",
                    limit=limit.limit_id,
                ) from error
            await _log_change(connection, audit_id, f"limit/{limit.limit_id}", before, fields)

        return await self._change(change)

    async def delete_limit(self, limit_id: str, *, audit_id: str) -> int:
        """Deletes a limit; returns the version from which on it no longer binds."""

        async def change(connection: Connection) -> None:
            before = await connection.fetchval(QUERIES.select_limit.sql, limit_id)
            if before is None:
                raise NotFound("limit", limit_id)
            await connection.execute(QUERIES.delete_limit.sql, limit_id)
            await _log_change(connection, audit_id, f"limit/{limit_id}", before, None)

        return await self._change(change)

    async def set_fence(self, fence: Fence, *, actor: str) -> Fence:
        """Sets or lifts a fence; returns the one in force, which a newer sequence may have set.

        Waits for batches in flight a moment, then ends their sessions: none of them was answered.
        """

        async def change(connection: Connection) -> None:
            fields = (fence.fence_id, fence.sequence, fence.active, fence.message, actor)
            if await connection.fetchrow(QUERIES.upsert_fence.sql, *fields):
                after = {"sequence": fence.sequence, "active": fence.active, "actor": actor}
                await _log_change(connection, "", f"fence/{fence.fence_id}", None, after)

        try:
            await self._change(change, patience_ms=FENCE_PATIENCE_MS)
        except asyncpg.LockNotAvailableError:
            ended = await self._pool.fetchval(QUERIES.terminate_policy_readers.sql)
            log.warning("fence_ended_sessions", fence_id=fence.fence_id, session_count=ended)
            await self._change(change, patience_ms=FENCE_WAIT_MS)
        (row,) = await self._pool.fetch(QUERIES.select_fence.sql, fence.fence_id)
        return Fence(**row)

    async def _change(
        self,
        change: Callable[[Connection], Awaitable[None]],
        *,
        patience_ms: int = FENCE_WAIT_MS,
    ) -> int:
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(f"SET LOCAL lock_timeout = {int(patience_ms)}")
            # Exclusive policy lock, before any row: the same order as every batch.
            await connection.execute(QUERIES.lock_policy.sql)
            await change(connection)
            return int(await connection.fetchval(QUERIES.bump_version.sql))


def parse_limit(fields: dict[str, Any]) -> Limit:
    """Returns the limit in a row. Raises ValueError, KeyError-free, if it makes no sense."""
    scope = fields["scope"] if isinstance(fields["scope"], dict) else json.loads(fields["scope"])
    zone_named(fields["time_zone"])
    return Limit(
        limit_id=fields["limit_id"],
        scope=tuple(sorted(scope.items())),
        metric=Metric(fields["metric"]),
        window=CalendarWindow(period=Period(fields["period"]), time_zone=fields["time_zone"]),
        cap=fields["cap"],
        owner=fields["owner"],
    )


def render_limit(limit: Limit) -> dict[str, Any]:
    """Returns the limit as a row, in the order of upsert_limit's parameters."""
    return {
        "limit_id": limit.limit_id,
        "scope": json.dumps(dict(limit.scope)),
        "metric": limit.metric.value,
        "period": limit.window.period.value,
        "time_zone": limit.window.time_zone,
        "cap": limit.cap,
        "owner": limit.owner,
    }


def parse_counter_key(row: asyncpg.Record) -> tuple[tuple[str, str], ...]:
    """Returns the scope values of a counter's row."""
    return tuple(json.loads(row["scope"]).items())


async def _log_change(
    connection: Connection,
    audit_id: str,
    target: str,
    before: str | None,
    after: dict[str, Any] | None,
) -> None:
    rendered = None if after is None else json.dumps(after)
    await connection.execute(QUERIES.insert_change.sql, audit_id, target, before, rendered)
