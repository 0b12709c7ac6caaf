"""All that health keeps in Postgres: breakers, permits to probe, kill switches, the version.

A decision is a function that the store calls between locking and writing, in one transaction.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, TypeAlias, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from chassis.database import Pool, load_queries
from services.health import rows
from services.health.domain.breakers import BreakerChange, Situation
from services.health.domain.kills import ChangeNote, KillSwitch
from services.health.domain.states import HealthState

SCHEMA: Final = "health"
SQL: Final = Path(__file__).parent / "sql"
# Tells watchers of every process that the version grew.
CHANNEL: Final = "headgate_health"

T = TypeVar("T")
Connection: TypeAlias = "PoolConnectionProxy[asyncpg.Record]"
Situations = Mapping[str, Situation]
# What was decided, and what of it must be written.
BreakerDecision = tuple[T, Sequence[BreakerChange]]


class LostUpdateError(Exception):
    """A row changed although it was locked: a bug, or a write that went around the store."""


def load_sql() -> Mapping[str, str]:
    """Returns the text of each named query."""
    queries = load_queries(SQL / "queries.sql")
    names = [name for name in queries.available_queries if not name.endswith("_cursor")]
    return {name: getattr(queries, name).sql for name in names}


class Store:
    """Runs health's queries on a pool of the runtime role. Raises what asyncpg raises."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._sql = load_sql()

    async def read_situations(self, providers: Iterable[str]) -> Situations:
        """Reads what decisions about the providers rest on, without any lock."""
        async with self._pool.acquire() as connection:
            return await self._read_situations(connection, sorted(set(providers)))

    async def change_breakers(
        self, providers: Iterable[str], decide: Callable[[Situations], BreakerDecision[T]]
    ) -> T:
        """Locks the providers' breakers, decides, writes; all or nothing."""
        names = sorted(set(providers))
        async with self._transaction() as connection:
            await connection.execute(self._sql["insert_breakers"], names)
            await connection.execute(self._sql["lock_breakers"], names)
            result, changes = decide(await self._read_situations(connection, names))
            await self._write_changes(connection, [each for each in changes if not each.is_empty])
        return result

    async def prune_permits(self, count_max: int) -> int:
        """Deletes at most so many expired permits and returns how many it deleted."""
        async with self._pool.acquire() as connection:
            return len(await connection.fetch(self._sql["prune_permits"], count_max))

    async def read_kill(self, kill_id: str) -> KillSwitch | None:
        """Reads one switch."""
        async with self._pool.acquire() as connection:
            return rows.parse_kill(await self._fetch_kill(connection, kill_id))

    async def read_kills(self) -> tuple[KillSwitch, ...]:
        """Reads all switches, resumed ones too."""
        async with self._pool.acquire() as connection:
            found = await connection.fetch(self._sql["read_kills"])
        return tuple(kill for row in found if (kill := rows.parse_kill(row)) is not None)

    async def change_kill(
        self,
        kill_id: str,
        decide: Callable[[KillSwitch | None, dt.datetime], KillSwitch],
        *,
        note: ChangeNote | None,
    ) -> KillSwitch:
        """Locks the switch, decides, writes, and notes an order in the change log.

        An unchanged switch writes nothing, so a repeated order leaves one note.
        """
        async with self._transaction() as connection:
            await connection.execute(self._sql["lock_kills"])
            row = await self._fetch_kill(connection, kill_id)
            before = rows.parse_kill(row)
            after = decide(before, rows.parse_now(row))
            if after == before:
                return after
            version = await self._bump_version(connection)
            after = await self._write_kill(connection, after, version)
            if note is not None:
                values = rows.render_note(note, before=before, after=after)
                await connection.execute(self._sql["insert_change"], *values)
        return after

    async def read_state(self) -> HealthState:
        """Reads everything in one snapshot."""
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            version = await connection.fetchval(self._sql["read_version"])
            breakers = await connection.fetch(self._sql["read_all_breakers"])
            kills = await connection.fetch(self._sql["read_kills"])
        return HealthState(
            version=version,
            breakers=tuple(rows.parse_breaker(row) for row in breakers),
            kills=tuple(kill for row in kills if (kill := rows.parse_kill(row)) is not None),
        )

    async def read_version(self) -> int:
        """Reads the version of the state. Cheap: watchers poll it."""
        async with self._pool.acquire() as connection:
            version: int = await connection.fetchval(self._sql["read_version"])
        return version

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Connection]:
        async with (
            self._pool.acquire() as connection,
            connection.transaction(isolation="read_committed"),
        ):
            yield connection

    async def _read_situations(
        self, connection: Connection, providers: Sequence[str]
    ) -> Situations:
        found = await connection.fetch(self._sql["read_breakers"], providers)
        return rows.parse_situations(found)

    async def _write_changes(
        self, connection: Connection, changes: Sequence[BreakerChange]
    ) -> None:
        version = None
        if any(change.is_announced for change in changes):
            version = await self._bump_version(connection)
        for change in changes:
            if change.before != change.after:
                values = rows.render_breaker(change, version=version)
                if await connection.fetchval(self._sql["write_breaker"], *values) is None:
                    raise LostUpdateError(change.before.provider)
        released = rows.render_released(changes)
        if released[0]:
            await connection.execute(self._sql["delete_permits"], *released)
        added = rows.render_added(changes)
        if added[0]:
            await connection.execute(self._sql["put_permits"], *added)

    async def _bump_version(self, connection: Connection) -> int:
        version: int = await connection.fetchval(self._sql["bump_version"])
        return version

    async def _fetch_kill(self, connection: Connection, kill_id: str) -> rows.Row:
        row = await connection.fetchrow(self._sql["read_kill"], kill_id)
        if row is None:
            raise AssertionError("the query answers with a row for any id")
        return row

    async def _write_kill(
        self, connection: Connection, kill: KillSwitch, version: int
    ) -> KillSwitch:
        versioned = rows.with_version(kill, version)
        values = rows.render_kill(versioned)
        await connection.execute(self._sql["write_kill"], *values)
        return versioned
