"""Kill switches in Postgres, and the log of orders."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from chassis.errors import StoreUnavailable
from services.health import kill_rows as rows
from services.health.connections import Connections
from services.health.domain.kills import ChangeNote, KillSwitch

# One of those who write a switch at the same time succeeds in each round.
ROUND_COUNT_MAX: Final = 64


class KillStore(Connections):
    """Reads and changes kill switches."""

    async def read_kill(self, kill_id: str) -> KillSwitch | None:
        """Reads one switch."""
        return rows.parse_kill(await self._fetch_kill(kill_id))

    async def read_kills(self) -> tuple[KillSwitch, ...]:
        """Reads all switches, resumed ones too."""
        found = await self._pool.fetch(self._sql["read_kills"])
        return tuple(kill for row in found if (kill := rows.parse_kill(row)) is not None)

    async def change_kill(
        self,
        kill_id: str,
        decide: Callable[[KillSwitch | None, dt.datetime], KillSwitch],
        *,
        note: ChangeNote | None,
    ) -> KillSwitch:
        """Reads the switch, decides, writes if it is still what was read; else once more.

        An unchanged switch is not written. The note of an order of staff is, once.
        """
        for _ in range(ROUND_COUNT_MAX):
            row = await self._fetch_kill(kill_id)
            before = rows.parse_kill(row)
            after = decide(before, rows.parse_now(row))
            noted = rows.render_note(note, before=before, after=after)
            if after == before:
                # What nobody ordered and changed nothing did not happen.
                if note is not None and note.audit_id:
                    await self._pool.execute(self._sql["insert_change_once"], *noted)
                return after
            version = await self._pool.fetchval(
                self._sql["write_kill"],
                *rows.render_kill(after),
                0 if before is None else before.version,
                *noted,
            )
            if version is not None:
                return replace(after, version=version)
        raise StoreUnavailable

    async def _fetch_kill(self, kill_id: str) -> rows.Row:
        row = await self._pool.fetchrow(self._sql["read_kill"], kill_id)
        if row is None:
            raise AssertionError("the query answers with a row for any id")
        return row
