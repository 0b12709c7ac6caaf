"""Rows of health's tables to values of its domain, and back. Used by the store only."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace

import asyncpg

from services.health.domain.breakers import (
    Breaker,
    BreakerChange,
    BreakerState,
    CallKey,
    ProbePermit,
    Situation,
    unknown_breaker,
)
from services.health.domain.kills import ChangeNote, KillState, KillSwitch

Row = asyncpg.Record
Instant = dt.datetime


def parse_breaker(row: Row) -> Breaker:
    """Reads a breaker's columns."""
    return Breaker(
        provider=row["provider"],
        state=BreakerState(row["state"]),
        epoch=row["epoch"],
        failure_count=row["failure_count"],
        probe_success_count=row["probe_success_count"],
        open_until=row["open_until"],
        change_time=row["change_time"],
        success_time=row["success_time"],
        failure_time=row["failure_time"],
        version=row["version"],
    )


def parse_situations(found: Iterable[Row]) -> dict[str, Situation]:
    """Groups joined rows of breakers and permits by provider. The latest clock reading is all's.

    A permit is compared with a reading that is no earlier than the one it was selected by.
    """
    found = list(found)
    now: Instant = max(row["now"] for row in found)
    breakers: dict[str, Breaker] = {}
    permits: dict[str, list[ProbePermit]] = {}
    for row in found:
        provider = row["provider"]
        if provider not in breakers:
            known = row["state"] is not None
            breakers[provider] = parse_breaker(row) if known else unknown_breaker(provider)
        if row["probe_call_id"] is not None:
            permits.setdefault(provider, []).append(_parse_permit(row))
    return {
        provider: Situation(breaker=breaker, permits=tuple(permits.get(provider, ())), now=now)
        for provider, breaker in breakers.items()
    }


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
    )


def parse_now(row: Row) -> Instant:
    """Reads the clock that was read along."""
    now: Instant = row["now"]
    return now


def with_version(kill: KillSwitch, version: int) -> KillSwitch:
    """Returns the switch as watchers will know it."""
    return replace(kill, version=version)


def render_breaker(change: BreakerChange, *, version: int | None) -> tuple[object, ...]:
    """Renders the arguments of `write_breaker`; `version` is set if watchers must learn of it."""
    breaker = change.after
    announced = version if change.is_announced and version is not None else breaker.version
    return (
        breaker.provider,
        change.before.epoch,
        breaker.state.value,
        breaker.epoch,
        breaker.failure_count,
        breaker.probe_success_count,
        breaker.open_until,
        breaker.change_time,
        breaker.success_time,
        breaker.failure_time,
        announced,
    )


def render_released(changes: Sequence[BreakerChange]) -> tuple[list[object], ...]:
    """Renders the arguments of `delete_permits`."""
    ended = [(change.after.provider, call) for change in changes for call in change.released]
    return (
        [provider for provider, _ in ended],
        [call.org for _, call in ended],
        [call.call_id for _, call in ended],
    )


def render_added(changes: Sequence[BreakerChange]) -> tuple[list[object], ...]:
    """Renders the arguments of `put_permits`."""
    added = [(change.after.provider, permit) for change in changes for permit in change.added]
    return (
        [provider for provider, _ in added],
        [permit.call.org for _, permit in added],
        [permit.call.call_id for _, permit in added],
        [permit.epoch for _, permit in added],
        [permit.expire_time for _, permit in added],
    )


def render_kill(kill: KillSwitch) -> tuple[object, ...]:
    """Renders the arguments of `write_kill`."""
    return (
        kill.kill_id,
        kill.state.value,
        kill.reason,
        kill.message,
        kill.actor,
        kill.sequence,
        kill.change_time,
        kill.version,
    )


def render_note(
    note: ChangeNote, *, before: KillSwitch | None, after: KillSwitch
) -> tuple[object, ...]:
    """Renders the arguments of `insert_change`."""
    return (
        note.audit_id,
        f"kill_switch/{after.kill_id}",
        note.actor,
        note.reason,
        None if before is None else _render_json(before),
        _render_json(after),
    )


def _parse_permit(row: Row) -> ProbePermit:
    return ProbePermit(
        call=CallKey(org=row["probe_org"], call_id=row["probe_call_id"]),
        epoch=row["probe_epoch"],
        expire_time=row["probe_expire_time"],
    )


def _render_json(kill: KillSwitch) -> str:
    fields = asdict(kill) | {
        "state": kill.state.value,
        "change_time": kill.change_time.isoformat(),
    }
    return json.dumps(fields)
