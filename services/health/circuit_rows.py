"""Rows of breakers, permits and windows to values of the domain, and back."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from services.health.domain.breakers import (
    Breaker,
    BreakerChange,
    BreakerState,
    CallKey,
    Cause,
    Change,
    Forced,
    Key,
    ProbePermit,
    Situation,
)
from services.health.domain.states import ProviderFigures
from services.health.domain.windows import Figures, Slot, Tally, Window

Row = asyncpg.Record
Instant = dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One change of a breaker's state, as the history keeps it."""

    move_id: int
    key: Key
    epoch: int
    before: BreakerState
    after: BreakerState
    forced: Forced
    cause: Cause
    failure_count: int
    open_until: Instant | None
    actor: str
    reason: str
    move_time: Instant


def parse_key(row: Row) -> Key:
    """Reads whom a row is about."""
    return Key(provider=row["provider"], model=row["model"], credential=row["credential"])


def parse_breaker(row: Row) -> Breaker:
    """Reads a breaker's columns; a closed one if they are all NULL."""
    key = parse_key(row)
    if row["state"] is None:
        return Breaker(key=key)
    return Breaker(
        key=key,
        state=BreakerState(row["state"]),
        epoch=row["epoch"],
        last_epoch=row["last_epoch"],
        failure_count=row["failure_count"],
        failure_orgs=tuple(row["failure_orgs"]),
        probe_success_count=row["probe_success_count"],
        open_count=row["open_count"],
        open_until=row["open_until"],
        cool_until=row["cool_until"],
        refuse_time=row["refuse_time"],
        forced=Forced(row["forced"]),
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
    breakers: dict[str, dict[Key, Breaker]] = {}
    permits: dict[str, list[ProbePermit]] = {}
    for row in found:
        key = parse_key(row)
        breakers.setdefault(key.provider, {}).setdefault(key, parse_breaker(row))
        if row["permit_call_id"] is not None:
            permits.setdefault(key.provider, []).append(_parse_permit(key, row))
    return {
        provider: Situation(
            provider=provider, breakers=of, permits=tuple(permits.get(provider, ())), now=now
        )
        for provider, of in breakers.items()
    }


def parse_move(row: Row) -> Move:
    """Reads one change of state."""
    return Move(
        move_id=row["move_id"],
        key=parse_key(row),
        epoch=row["epoch"],
        before=BreakerState(row["before_state"]),
        after=BreakerState(row["after_state"]),
        forced=Forced(row["forced"]),
        cause=Cause(row["cause"]),
        failure_count=row["failure_count"],
        open_until=row["open_until"],
        actor=row["actor"],
        reason=row["reason"],
        move_time=row["move_time"],
    )


def parse_figures(found: Iterable[Row]) -> dict[str, ProviderFigures]:
    """Reads the providers' figures of rows that may have none."""
    return {
        row["provider"]: ProviderFigures(
            figures=_parse_figures(row), version=row["figures_version"]
        )
        for row in found
        if row["call_count"] is not None and not row["model"] and not row["credential"]
    }


def parse_window(row: Row) -> tuple[Window, Figures, int]:
    """Reads the slots of a window, what was last said of it, and in which version."""
    if row["slots"] is None:
        return {}, Figures(), 0
    slots = json.loads(row["slots"])
    window = {int(number): _parse_slot(slot) for number, slot in slots.items()}
    return window, _parse_figures(row), row["version"]


def render_keys(keys: Iterable[Key]) -> tuple[list[str], list[str], list[str]]:
    """Renders keys as the columns that queries unnest."""
    keys = list(keys)
    return (
        [key.provider for key in keys],
        [key.model for key in keys],
        [key.credential for key in keys],
    )


def render_breaker(change: BreakerChange, *, version: int | None) -> tuple[object, ...]:
    """Renders the arguments of `write_circuit`; `version` is set if watchers must learn of it."""
    breaker = change.after
    announced = version if change.is_announced and version is not None else breaker.version
    return (
        breaker.key.provider,
        breaker.key.model,
        breaker.key.credential,
        change.before.epoch,
        breaker.state.value,
        breaker.epoch,
        breaker.last_epoch,
        breaker.failure_count,
        breaker.failure_orgs,
        breaker.probe_success_count,
        breaker.open_count,
        breaker.open_until,
        breaker.cool_until,
        breaker.forced.value,
        breaker.change_time,
        breaker.success_time,
        breaker.failure_time,
        announced,
        breaker.refuse_time,
    )


def render_released(changes: Sequence[Change]) -> tuple[list[object], ...]:
    """Renders the arguments of `delete_permits`."""
    ended = [(change.provider, call) for change in changes for call in change.released]
    return (
        [provider for provider, _ in ended],
        [call.org for _, call in ended],
        [call.call_id for _, call in ended],
    )


def render_added(changes: Sequence[Change]) -> tuple[list[object], ...]:
    """Renders the arguments of `put_permits`."""
    added = [permit for change in changes for permit in change.added]
    return (
        *(list[object](column) for column in render_keys(permit.key for permit in added)),
        [permit.call.org for permit in added],
        [permit.call.call_id for permit in added],
        [permit.epoch for permit in added],
        [permit.expire_time for permit in added],
    )


def render_moves(
    changes: Sequence[Change], *, actor: str = "", reason: str = ""
) -> tuple[list[object], ...]:
    """Renders the arguments of `insert_moves`: the transitions among the changes."""
    moves = [each for change in changes for each in change.breakers if each.cause is not None]
    return (
        *(list[object](column) for column in render_keys(each.after.key for each in moves)),
        [each.after.epoch for each in moves],
        [each.before.state.value for each in moves],
        [each.after.state.value for each in moves],
        [each.after.forced.value for each in moves],
        [each.cause.value for each in moves if each.cause is not None],
        [each.after.failure_count for each in moves],
        [each.after.open_until for each in moves],
        [actor for _ in moves],
        [reason for _ in moves],
        [
            each.after.change_time if each.is_transition else each.after.failure_time
            for each in moves
        ],
    )


def render_window(
    key: Key, window: Mapping[int, Slot], figures: Figures, *, version: int
) -> tuple[object, ...]:
    """Renders the arguments of `write_window`."""
    slots = {
        str(number): {
            "orgs": {
                org: [tally.call_count, tally.failed_count, tally.slow_count]
                for org, tally in slot.tallies.items()
            },
            "ms": {str(bucket): count for bucket, count in slot.latencies.items()},
        }
        for number, slot in window.items()
    }
    return (
        key.provider,
        key.model,
        key.credential,
        json.dumps(slots),
        figures.call_count,
        figures.error_rate_percent,
        figures.latency_p50_ms,
        figures.latency_p95_ms,
        version,
    )


def _parse_permit(key: Key, row: Row) -> ProbePermit:
    return ProbePermit(
        key=key,
        call=CallKey(org=row["permit_org"], call_id=row["permit_call_id"]),
        epoch=row["permit_epoch"],
        expire_time=row["permit_expire_time"],
    )


def _parse_figures(row: Row) -> Figures:
    return Figures(
        call_count=row["call_count"],
        error_rate_percent=row["error_rate_percent"],
        latency_p50_ms=row["latency_p50_ms"],
        latency_p95_ms=row["latency_p95_ms"],
    )


def _parse_slot(slot: Mapping[str, Any]) -> Slot:
    parsed = Slot()
    for org, (calls, failed, slow) in slot["orgs"].items():
        parsed.count(org, Tally(call_count=calls, failed_count=failed, slow_count=slow))
    for bucket, count in slot["ms"].items():
        parsed.time(int(bucket), count)
    return parsed
