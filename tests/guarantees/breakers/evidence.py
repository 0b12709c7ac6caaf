"""What really happened to breakers, row by row, written down by triggers of the test's own.

A permit is gone when its call has ended, so the tables at rest say nothing of how many there were.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import asyncpg

# The rows of one provider are changed under its lock, so the numbers are in the order of commits.
TRIGGERS: Final = """
    CREATE TABLE health.seen (
        seen_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        of_permit boolean NOT NULL,
        deleted boolean NOT NULL,
        content jsonb NOT NULL,
        seen_time timestamptz NOT NULL DEFAULT clock_timestamp()
    );
    CREATE FUNCTION health.see() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        INSERT INTO health.seen (of_permit, deleted, content) VALUES (
            TG_TABLE_NAME = 'circuit_permit',
            TG_OP = 'DELETE',
            CASE TG_OP WHEN 'DELETE' THEN to_jsonb(OLD) ELSE to_jsonb(NEW) END
        );
        RETURN NULL;
    END;
    $$;
    CREATE TRIGGER seen AFTER INSERT OR UPDATE OR DELETE ON health.circuit
    FOR EACH ROW EXECUTE FUNCTION health.see();
    CREATE TRIGGER seen AFTER INSERT OR UPDATE OR DELETE ON health.circuit_permit
    FOR EACH ROW EXECUTE FUNCTION health.see();
"""
SEEN: Final = (
    "SELECT of_permit, deleted, content::text, seen_time FROM health.seen ORDER BY seen_id"
)
UNWELL: Final = "SELECT count(*) FROM health.circuit WHERE state <> 'closed'"


class Key(NamedTuple):
    """One breaker."""

    provider: str
    model: str = ""
    credential: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """A breaker, as a transaction left it."""

    key: Key
    state: str
    epoch: int
    last_epoch: int
    # Failures in a row that it has counted.
    failure_count: int
    at: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A permit to probe, from its grant to its end."""

    key: Key
    org: str
    call_id: str
    epoch: int
    start: dt.datetime
    # By itself, or when it was given back.
    end: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All of it, in the order of commits."""

    turns: Sequence[Turn]
    leases: Sequence[Lease]


async def watch(database_url: str) -> None:
    """Begins to write everything down."""
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(TRIGGERS)
    finally:
        await connection.close()


async def read(database_url: str) -> Evidence:
    """Reads what was written down."""
    connection = await asyncpg.connect(database_url)
    try:
        rows = await connection.fetch(SEEN)
    finally:
        await connection.close()
    changes = [(row, json.loads(row["content"])) for row in rows]
    return Evidence(
        turns=[
            Turn(
                key=_key(row),
                state=row["state"],
                epoch=row["epoch"],
                last_epoch=row["last_epoch"],
                failure_count=row["failure_count"],
                at=change["seen_time"],
            )
            for change, row in changes
            if not change["of_permit"] and not change["deleted"]
        ],
        leases=_leases([(change, row) for change, row in changes if change["of_permit"]]),
    )


async def all_closed(database_url: str) -> bool:
    """Tells whether every breaker is closed."""
    connection = await asyncpg.connect(database_url)
    try:
        return not await connection.fetchval(UNWELL)
    finally:
        await connection.close()


def _leases(changes: Sequence[tuple[asyncpg.Record, dict[str, Any]]]) -> list[Lease]:
    """Each grant ends with the next change of the same permit, or by itself."""
    leases: list[Lease] = []
    open_: dict[tuple[Key, str, str], Lease] = {}
    for change, row in changes:
        name = _key(row), row["org"], row["call_id"]
        if (before := open_.pop(name, None)) is not None:
            leases.append(_ended(before, change["seen_time"]))
        if not change["deleted"]:
            open_[name] = Lease(
                key=_key(row),
                org=row["org"],
                call_id=row["call_id"],
                epoch=row["epoch"],
                start=change["seen_time"],
                end=dt.datetime.fromisoformat(row["expire_time"]),
            )
    return sorted([*leases, *open_.values()], key=lambda each: each.start)


def _ended(lease: Lease, at: dt.datetime) -> Lease:
    return Lease(
        key=lease.key,
        org=lease.org,
        call_id=lease.call_id,
        epoch=lease.epoch,
        start=lease.start,
        end=min(at, lease.end),
    )


def _key(row: dict[str, Any]) -> Key:
    return Key(row["provider"], row["model"], row["credential"])
