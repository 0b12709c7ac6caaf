"""Rows of kill switches to values of the domain, and back. Used by the store only."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import asdict

import asyncpg

from services.health.domain.kills import ChangeNote, KillState, KillSwitch

Row = asyncpg.Record
Instant = dt.datetime


def parse_kill(row: Row) -> KillSwitch | None:
    """Reads a switch's columns; None if they are all NULL."""
    if row["state"] is None:
        return None
    return KillSwitch(
        kill_id=row["kill_id"],
        state=KillState(row["state"]),
        reason=row["reason"],
        message=row["message"],
        actor=row["actor"],
        sequence=row["sequence"],
        change_time=row["change_time"],
        version=row["version"],
        scope=tuple(sorted(json.loads(row["scope"]).items())),
        expire_time=row["expire_time"],
        set_by=row["set_by"],
        set_time=row["set_time"],
    )


def parse_now(row: Row) -> Instant:
    """Reads the clock that was read along."""
    now: Instant = row["now"]
    return now


def render_kill(kill: KillSwitch) -> tuple[object, ...]:
    """Renders the first arguments of `write_kill`."""
    return (
        kill.kill_id,
        kill.state.value,
        kill.reason,
        kill.message,
        kill.actor,
        kill.sequence,
        kill.change_time,
        json.dumps(dict(kill.scope)),
        kill.expire_time,
        kill.set_by,
        kill.set_time,
    )


def render_note(
    note: ChangeNote | None, *, before: KillSwitch | None, after: KillSwitch
) -> tuple[object, ...]:
    """Renders the arguments of `insert_change_once`, and the last ones of `write_kill`.

    Without a note the first is None, and nothing is logged.
    """
    return (
        note.audit_id if note else None,
        f"kill_switch/{after.kill_id}",
        note.actor if note else None,
        note.reason if note else None,
        None if before is None else _render_json(before),
        _render_json(after),
    )


def _render_json(kill: KillSwitch) -> str:
    fields = asdict(kill) | {
        "state": kill.state.value,
        "scope": dict(kill.scope),
    }
    for name in ("change_time", "expire_time", "set_time"):
        instant = getattr(kill, name)
        fields[name] = None if instant is None else instant.isoformat()
    return json.dumps(fields)
