"""The limits and fences in force: this process's copy, and their changes.

A change takes the policy lock exclusively, so when it returns no older decision is in flight and
the next batch on any replica reads the new version.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import asyncpg
import structlog

from chassis import database
from chassis.errors import FailedPrecondition, NotFound
from services.admission.domain.bindings import Binding, LimitSet, Projection
from services.admission.domain.calls import Reserve
from services.admission.domain.fences import Fence
from services.admission.domain.limits import Limit
from services.admission.domain.windows import FOREVER
from services.admission.limit_sets import (
    Connection,
    already_exists,
    check_count,
    check_overlap,
    write_set,
)
from services.admission.queries import QUERIES
from services.admission.rows import fence_of, limit_columns, limit_of

log = structlog.get_logger()

# Beyond this many scopes the copy of bindings starts over: it is a cache, nothing depends on it.
BINDING_COUNT_MAX: Final = 50_000
# A fence that waits longer ends the sessions that it waits for.
FENCE_PATIENCE_MS: Final = 30
FENCE_WAIT_MS: Final = 2_000


class PolicyCopy:
    """This process's copy of the limits and fences, with the bindings made from it."""

    def __init__(self, pool: database.Pool) -> None:
        self._pool = pool
        self._bindings: dict[Projection, Binding] = {}
        self.limit_set = LimitSet(version=0)
        # What is wrong with limits that could not be read, by id; they bind nobody, and the
        # others go on.
        self.invalid_limits: Mapping[str, str] = {}
        # True while the stored set has lost limits that nobody deleted: the last whole set holds.
        self.is_partial = False

    async def reload(self) -> None:
        """Reads the newest version from the database."""
        (row,) = await self._pool.fetch(QUERIES.select_policy.sql)
        stored = json.loads(row["limits"])
        limits, invalid = _parse_limits(stored)
        self.is_partial = row["limit_count"] not in (None, len(stored))
        if self.is_partial:
            log.error("limits_partial", expected=row["limit_count"], found=len(stored))
            if self.limit_set.version == 0:
                raise RuntimeError("limits are missing that nobody deleted; see operations.md")
            limits = list(self.limit_set.limits.values())
        fences = [fence_of(fields) for fields in json.loads(row["fences"])]
        self.limit_set = LimitSet(version=row["version"], limits=limits, fences=fences)
        self.invalid_limits = invalid
        self._bindings.clear()

    async def reload_if_old(self) -> None:
        """Reads the newest version, unless it is known."""
        if await self._pool.fetchval(QUERIES.select_version.sql) != self.limit_set.version:
            await self.reload()

    def bind(self, call: Reserve, instant: dt.datetime) -> tuple[Binding, ...]:
        """Returns what applies to a call on each of its candidates at `instant`."""
        return tuple(
            [
                self.binding(call.dimensions_on(each.provider, each.model), instant)
                for each in call.candidates
            ]
        )

    def binding(self, dimensions: Mapping[str, str], instant: dt.datetime) -> Binding:
        """Returns the limits that apply to calls with these dimensions at `instant`."""
        projection = self.limit_set.project(dimensions)
        binding = self._bindings.get(projection)
        if binding is None or not binding.valid_from <= instant < binding.valid_until:
            if len(self._bindings) >= BINDING_COUNT_MAX:
                self._bindings.clear()
            binding = self.limit_set.bind(dimensions, instant)
            self._bindings[projection] = binding
        return binding


class Policy:
    """Writes limits and fences."""

    def __init__(self, pool: database.Pool) -> None:
        self._pool = pool

    async def put_limit(
        self, limit: Limit, *, audit_id: str, expected_version: int | None = None
    ) -> int:
        """Creates or replaces a limit; returns the version from which on it binds.

        Raises FailedPrecondition unless it has the expected version, or says this already.
        """

        async def change(connection: Connection) -> int:
            before = await connection.fetchval(QUERIES.select_limit.sql, limit.limit_id)
            found = _read_limit(before)
            if found != limit:
                _expect(limit.limit_id, found, expected_version)
            if before is None:
                await check_count(connection)
            columns = limit_columns(limit)
            await check_overlap(connection, limit, columns)
            try:
                await connection.execute(QUERIES.upsert_limit.sql, *columns.values())
            except asyncpg.UniqueViolationError as error:
                raise already_exists(limit) from error
            await _log_change(connection, audit_id, f"limit/{limit.limit_id}", before, columns)
            return int(before is None)

        return await self._change(change)

    async def delete_limit(
        self, limit_id: str, *, audit_id: str, expected_version: int | None = None
    ) -> int:
        """Deletes a limit; returns the version from which on it no longer binds.

        Raises NotFound, and FailedPrecondition unless it has the expected version.
        """

        async def change(connection: Connection) -> int:
            before = await connection.fetchval(QUERIES.select_limit.sql, limit_id)
            if before is None:
                raise NotFound("limit", limit_id)
            _expect(limit_id, _read_limit(before), expected_version)
            await connection.execute(QUERIES.delete_limit.sql, limit_id)
            await _log_change(connection, audit_id, f"limit/{limit_id}", before, None)
            return -1

        return await self._change(change)

    async def apply(
        self, limits: Sequence[Limit], deleted: Sequence[str], *, audit_id: str, keep: bool
    ) -> int:
        """Writes and deletes limits, all or none; returns the version from which on it binds.

        What is to be deleted may be gone already. Unless `keep`, nothing is changed.
        """
        return await self._change(
            lambda connection: write_set(connection, limits, deleted, audit_id), keep=keep
        )

    async def set_fence(self, fence: Fence, *, actor: str) -> Fence:
        """Sets or lifts a fence; returns the one in force, which a newer sequence may have set.

        Waits for batches in flight a moment, then ends their sessions: none of them was answered.
        """
        columns: dict[str, Any] = {
            "fence_id": fence.fence_id,
            "sequence": fence.sequence,
            "active": fence.active,
            "message": fence.message,
            "actor": actor,
            "scope": json.dumps(dict(fence.scope)),
            "expire_time": None if fence.expire_time == FOREVER else fence.expire_time,
        }

        values = (*columns.values(), json.dumps(columns, default=str))
        put = QUERIES.put_fence.sql
        try:
            (row,) = await self._pool.fetch(put, *values, FENCE_PATIENCE_MS)
        except asyncpg.LockNotAvailableError:
            ended = await self._pool.fetchval(QUERIES.terminate_policy_readers.sql)
            log.warning("fence_ended_sessions", fence_id=fence.fence_id, session_count=ended)
            (row,) = await self._pool.fetch(put, *values, FENCE_WAIT_MS)
        return fence_of(row)

    async def _change(
        self, change: Callable[[Connection], Awaitable[int]], *, keep: bool = True
    ) -> int:
        """Runs a change that returns by how many limits there are more; returns the version."""
        async with database.changing(self._pool, keep=keep) as connection:
            # Exclusive policy lock, before any row: the same order as every batch.
            await connection.execute(QUERIES.lock_policy.sql)
            added = await change(connection)
            return int(await connection.fetchval(QUERIES.bump_version.sql, added))


def _parse_limits(stored: list[dict[str, Any]]) -> tuple[list[Limit], dict[str, str]]:
    limits, invalid = [], {}
    for fields in stored:
        try:
            limits.append(limit_of(fields))
        except ValueError as error:
            invalid[fields["limit_id"]] = str(error)
            log.error("limit_disabled", limit_id=fields["limit_id"], error=str(error))
    return limits, invalid


def _read_limit(stored: str | None) -> Limit | None:
    """Returns the limit that a row is; None: there is none, or it makes no sense."""
    if stored is None:
        return None
    try:
        return limit_of(json.loads(stored))
    except ValueError:
        return None


def _expect(limit_id: str, found: Limit | None, expected: int | None) -> None:
    version = 0 if found is None else found.version
    if expected is not None and expected != version:
        raise FailedPrecondition(
            f"the limit {limit_id} has version {version}, not {expected}: "
            "look at what was changed, then write again",
            "LIMIT_CHANGED",
            limit=limit_id,
            version=str(version),
        )


async def _log_change(
    connection: Connection,
    audit_id: str,
    target: str,
    before: str | None,
    after: dict[str, Any] | None,
) -> None:
    rendered = None if after is None else json.dumps(after, default=str)
    await connection.execute(QUERIES.insert_change.sql, audit_id, target, before, rendered)
