"""Breakers, permits to probe, windows and the history in Postgres.

A decision is a function that the store calls between locking and writing, in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from services.health import circuit_rows as rows
from services.health.circuit_rows import Move
from services.health.connections import Connection, Connections
from services.health.domain.breakers import Change, Key, Situation
from services.health.domain.kills import ChangeNote
from services.health.domain.windows import Figures, Window

T = TypeVar("T")
Situations = Mapping[str, Situation]
# What was decided, and what of it must be written.
Decision = tuple[T, Sequence[Change]]


class LostUpdateError(Exception):
    """A row changed although it was locked: a bug, or a write that went around the store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """What the windows of one provider's breakers came to."""

    change: Change
    # New windows of those breakers that keep one, with what they say to people.
    windows: Mapping[Key, tuple[Window, Figures]]


class CircuitStore(Connections):
    """Reads and changes a provider's breakers together."""

    async def read_situations(self, keys: Iterable[Key]) -> Situations:
        """Reads what decisions about the breakers rest on, without any lock."""
        async with self._pool.acquire() as connection:
            return await self._read_situations(connection, _complete(keys))

    async def change_breakers(
        self,
        keys: Iterable[Key],
        decide: Callable[[Situations], Decision[T]],
        *,
        note: ChangeNote | None = None,
    ) -> T:
        """Locks the keys' providers, decides, writes; all or nothing. `note`: who forced it."""
        forced = list(keys)
        complete = _complete(forced)
        async with self._transaction() as connection:
            await self._lock(connection, complete)
            result, changes = decide(await self._read_situations(connection, complete))
            await self._write(connection, [each for each in changes if not each.is_empty], note)
            if note is not None:
                who = (note.actor, note.reason)
                for key in forced:
                    values = (note.audit_id, f"breaker/{key.text}", *who, None, None)
                    await connection.execute(self._sql["insert_change"], *values)
        return result

    async def weigh(
        self,
        provider: str,
        keys: Iterable[Key],
        decide: Callable[[Situation, Mapping[Key, Window]], Weighed],
    ) -> Change:
        """Locks a provider, judges the windows of its breakers, writes both."""
        complete = _complete([*keys, Key(provider=provider)])
        async with self._transaction() as connection:
            await self._lock(connection, complete)
            situation = (await self._read_situations(connection, complete))[provider]
            found = await connection.fetch(self._sql["read_windows"], *rows.render_keys(complete))
            known = {rows.parse_key(row): rows.parse_window(row) for row in found}
            weighed = decide(situation, {key: window for key, (window, _, _) in known.items()})
            is_news = any(
                key.is_provider and figures != known[key][1]
                for key, (_, figures) in weighed.windows.items()
            )
            version = await self._write(connection, [weighed.change], None, is_news=is_news)
            for key, (window, figures) in weighed.windows.items():
                told = version if is_news and version is not None else known[key][2]
                values = rows.render_window(key, window, figures, version=told)
                await connection.execute(self._sql["write_window"], *values)
        return weighed.change

    async def list_old_figures(self) -> list[str]:
        """Lists providers whose figures speak of calls that are long over."""
        async with self._pool.acquire() as connection:
            found = await connection.fetch(self._sql["list_old_figures"])
        return [row["provider"] for row in found]

    async def list_moves(self, *, provider: str, before: int, count_max: int) -> list[Move]:
        """Lists changes of state, newest first, from below an id. Empty provider: of all."""
        async with self._pool.acquire() as connection:
            found = await connection.fetch(self._sql["list_moves"], before, provider, count_max)
        return [rows.parse_move(row) for row in found]

    async def prune_permits(self, count_max: int) -> int:
        """Deletes at most so many expired permits and returns how many it deleted."""
        async with self._pool.acquire() as connection:
            return len(await connection.fetch(self._sql["prune_permits"], count_max))

    async def prune_breakers(self) -> None:
        """Deletes breakers, windows and history that nobody needs any more."""
        async with self._pool.acquire() as connection:
            await connection.execute(self._sql["prune_parts"])
            await connection.execute(self._sql["prune_windows"])
            await connection.execute(self._sql["prune_moves"])

    async def _lock(self, connection: Connection, keys: Sequence[Key]) -> None:
        providers = sorted({key.provider for key in keys})
        await connection.execute(self._sql["insert_providers"], providers)
        await connection.execute(self._sql["lock_providers"], providers)

    async def _read_situations(self, connection: Connection, keys: Sequence[Key]) -> Situations:
        if not keys:
            return {}
        found = await connection.fetch(self._sql["read_circuits"], *rows.render_keys(keys))
        return rows.parse_situations(found)

    async def _write(
        self,
        connection: Connection,
        changes: Sequence[Change],
        note: ChangeNote | None,
        *,
        is_news: bool = False,
    ) -> int | None:
        version = None
        if is_news or any(each.is_announced for change in changes for each in change.breakers):
            version = await self._bump_version(connection)
        for change in changes:
            for each in change.breakers:
                values = rows.render_breaker(each, version=version)
                if await connection.fetchval(self._sql["write_circuit"], *values) is None:
                    raise LostUpdateError(each.after.key.text)
        await self._write_permits(connection, changes)
        moves = rows.render_moves(
            changes, actor=note.actor if note else "", reason=note.reason if note else ""
        )
        if moves[0]:
            await connection.execute(self._sql["insert_moves"], *moves)
        return version

    async def _write_permits(self, connection: Connection, changes: Sequence[Change]) -> None:
        released = rows.render_released(changes)
        if released[0]:
            await connection.execute(self._sql["delete_permits"], *released)
        added = rows.render_added(changes)
        if added[0]:
            await connection.execute(self._sql["put_permits"], *added)


def _complete(keys: Iterable[Key]) -> list[Key]:
    """Adds the providers themselves: a decision about a part needs their epochs."""
    found = dict.fromkeys(keys)
    return list(dict.fromkeys([*(Key(provider=key.provider) for key in found), *found]))
