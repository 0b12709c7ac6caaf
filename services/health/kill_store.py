"""Kill switches in Postgres, and the log of orders."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

from services.health import kill_rows as rows
from services.health.connections import Connection, Connections
from services.health.domain.kills import ChangeNote, KillSwitch


class KillStore(Connections):
    """Reads and changes kill switches."""

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
