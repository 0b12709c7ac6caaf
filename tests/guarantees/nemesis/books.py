"""What the database says after a run, read by the superuser from outside of every service."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

METRIC_CALLS: Final = 1
METRIC_COST: Final = 2
METRIC_CONCURRENCY: Final = 4
# Kinds of windows, as the schema numbers them.
CALENDAR: Final = 1
ROLLING: Final = 2
BUCKET: Final = 3

COUNTERS: Final = """
    SELECT
        counter_id, org, scope::text AS scope, metric, window_kind, start_time, end_time, held,
        settled, overrun, high_cap
    FROM admission.counter
"""
ENDED: Final = """
    SELECT
        e.org, e.call_id, e.held_nanos, e.settled_nanos, e.state, e.revision, e.hold_returned,
        e.admit_time, e.expire_time, e.end_time, e.fingerprint = ''::bytea AS is_tombstone,
        s.counter_ids
    FROM admission.ended_reservation AS e
    LEFT JOIN admission.counter_set AS s ON e.set_id = s.set_id
"""
OPEN: Final = """
    SELECT r.org, r.call_id, r.held_nanos, r.admit_time, r.expire_time, s.counter_ids
    FROM admission.reservation AS r
    INNER JOIN admission.counter_set AS s ON r.set_id = s.set_id
"""
USAGE: Final = """
    SELECT org, call_id, revision, total_nanos, held_nanos, admit_time FROM accounting.usage_log
"""
CAPS: Final = """
    SELECT substr(target, 7) AS limit_id, (after ->> 'cap')::bigint AS cap, change_time
    FROM admission.change_log
    WHERE target LIKE 'limit/%' AND after IS NOT NULL
"""


class State:
    """States of ended reservations, by their numbers in the contract."""

    SETTLED: Final = 2
    RELEASED: Final = 3
    EXPIRED: Final = 4
    LATE: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """What one scope used in one window."""

    counter_id: uuid.UUID
    org: str
    scope: str
    metric: int
    window_kind: int
    # 1970 and 9999: the window has no end.
    start_time: dt.datetime
    end_time: dt.datetime
    held: int
    settled: int
    overrun: int
    high_cap: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """One call that ended, or that never was admitted and never will be."""

    org: str
    call_id: str
    held_nanos: int
    settled_nanos: int
    state: int
    revision: int
    hold_returned: bool
    admit_time: dt.datetime
    expire_time: dt.datetime
    end_time: dt.datetime
    is_tombstone: bool
    counter_ids: tuple[uuid.UUID, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Open:
    """One call that is still held."""

    org: str
    call_id: str
    held_nanos: int
    admit_time: dt.datetime
    expire_time: dt.datetime
    counter_ids: tuple[uuid.UUID, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """One row of the usage log."""

    org: str
    call_id: str
    revision: int
    total_nanos: int
    held_nanos: int
    admit_time: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    """One change of a limit."""

    limit_id: str
    cap: int
    change_time: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """Everything, in one snapshot."""

    counters: tuple[Counter, ...]
    ended: tuple[Ended, ...]
    open: tuple[Open, ...]
    usage: tuple[Usage, ...]
    caps: tuple[Cap, ...]


async def read(connection: asyncpg.Connection[asyncpg.Record]) -> Books:
    """Reads the books in one snapshot."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        return Books(
            counters=tuple(Counter(**row) for row in await connection.fetch(COUNTERS)),
            ended=tuple(Ended(**_named(row)) for row in await connection.fetch(ENDED)),
            open=tuple(Open(**_named(row)) for row in await connection.fetch(OPEN)),
            usage=tuple(Usage(**_named(row)) for row in await connection.fetch(USAGE)),
            caps=tuple(Cap(**row) for row in await connection.fetch(CAPS)),
        )


def _named(row: asyncpg.Record) -> dict[str, Any]:
    fields: dict[str, Any] = dict(row) | {"call_id": str(row["call_id"])}
    if "counter_ids" in fields:
        fields["counter_ids"] = tuple(row["counter_ids"] or ())
    return fields
