"""Toggles in Postgres, and the history of their changes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import asyncpg

from services.health.connections import Connection, Connections
from services.health.domain.kills import ChangeNote
from services.health.domain.toggles import Decide, Place, Toggle, changed_places, value_at

Row = asyncpg.Record


@dataclass(frozen=True, slots=True, kw_only=True)
class ToggleChange:
    """One change of a toggle, as the history keeps it."""

    change_id: int
    toggle_id: str
    place: Place
    before: bool | None
    after: bool | None
    actor: str
    reason: str
    change_time: dt.datetime


class ToggleStore(Connections):
    """Reads and changes toggles."""

    async def read_toggles(self) -> Mapping[str, Toggle]:
        """Reads all toggles, deleted ones too."""
        async with self._pool.acquire() as connection:
            return parse_toggles(await connection.fetch(self._sql["read_toggles"]))

    async def change_toggles(
        self, decide: Decide, *, note: ChangeNote, keep: bool = True
    ) -> Mapping[str, Toggle]:
        """Locks the toggles, decides about some, writes them and their history; all or nothing.

        Unless `keep`, nothing is changed.
        """
        async with self._transaction(keep=keep) as connection:
            await connection.execute(self._sql["lock_toggles"])
            known = parse_toggles(await connection.fetch(self._sql["read_toggles"]))
            decided = dict(decide(known))
            changed = {name: each for name, each in decided.items() if each != known.get(name)}
            if not changed:
                return decided
            version = await self._bump_version(connection)
            for name, after in changed.items():
                await self._write_toggle(connection, known.get(name), after, note, version)
                decided[name] = replace(after, version=version)
        return decided

    async def list_toggle_changes(
        self, *, toggle_id: str, before: int, count_max: int
    ) -> list[ToggleChange]:
        """Lists changes, newest first, from below an id. Empty toggle: of all."""
        async with self._pool.acquire() as connection:
            found = await connection.fetch(
                self._sql["list_toggle_changes"], before, toggle_id, count_max
            )
        return [
            ToggleChange(
                change_id=row["change_id"],
                toggle_id=row["toggle_id"],
                place=(row["org"], row["operation"]),
                before=row["before"],
                after=row["after"],
                actor=row["actor"],
                reason=row["reason"],
                change_time=row["change_time"],
            )
            for row in found
        ]

    async def _write_toggle(
        self,
        connection: Connection,
        before: Toggle | None,
        after: Toggle,
        note: ChangeNote,
        version: int,
    ) -> None:
        name, old = after.toggle_id, {} if before is None else before.rules
        await connection.execute(
            self._sql["write_toggle"],
            *(name, after.description, after.enabled, after.deleted, version),
        )
        await connection.executemany(
            self._sql["delete_toggle_rule"], [(name, *place) for place in old.keys() - after.rules]
        )
        await connection.executemany(
            self._sql["put_toggle_rule"],
            [(name, *place, on) for place, on in after.rules.items() if old.get(place) != on],
        )
        told = (note.actor, note.reason, note.audit_id)
        await connection.executemany(
            self._sql["insert_toggle_change"],
            [
                (name, *place, value_at(before, place), value_at(after, place), *told)
                for place in changed_places(before, after)
            ],
        )


def parse_toggles(found: Iterable[Row]) -> dict[str, Toggle]:
    """Groups joined rows of toggles and rules by toggle."""
    toggles: dict[str, Toggle] = {}
    rules: dict[str, dict[Place, bool]] = {}
    for row in found:
        name = row["toggle_id"]
        of = rules.setdefault(name, {})
        if row["org"] is not None:
            of[row["org"], row["operation"]] = row["rule_enabled"]
        toggles[name] = Toggle(
            toggle_id=name,
            description=row["description"],
            enabled=row["enabled"],
            locked=row["locked"],
            shipped=row["shipped"],
            deleted=row["deleted"],
            rules=of,
            change_time=row["change_time"],
            version=row["version"],
        )
    return toggles
