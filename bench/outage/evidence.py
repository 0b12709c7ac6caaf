"""What the databases and the provider's bill say afterwards."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """One attempt in the usage log."""

    call_id: str
    provider: str
    model: str
    # The contract's number: 1 is success.
    outcome: int
    nanos: int
    # Seconds since the start.
    admitted: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Billed:
    """One line of the provider's own bill."""

    call_id: str
    provider: str
    model: str
    nanos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One change of a breaker's state, from the history."""

    # Seconds since the start.
    at: float
    provider: str
    # "model …" or "key of …"; empty: the provider itself.
    part: str
    epoch: int
    before: str
    after: str
    cause: str
    # Empty: nobody.
    actor: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All of it."""

    booked: Sequence[Booked]
    billed: Sequence[Billed]
    moves: Sequence[Move]
    # Parts of breakers that are not closed, at the end.
    unwell: Sequence[str]


async def read(database_url: str, bill: Path, orgs: Sequence[str], start: dt.datetime) -> Evidence:
    """Reads the evidence of calls since the start; times are the database's."""
    connection = await asyncpg.connect(database_url)
    try:
        usage = await connection.fetch(
            "SELECT call_id::text, provider, model, outcome, total_nanos, admit_time"
            " FROM accounting.usage_log WHERE org = any($1) AND admit_time >= $2",
            list(orgs),
            start,
        )
        moves = await connection.fetch(
            "SELECT * FROM health.circuit_move WHERE move_time >= $1 ORDER BY move_id", start
        )
        unwell = await connection.fetch(
            "SELECT provider, model, credential FROM health.circuit WHERE state <> 'closed'"
        )
    finally:
        await connection.close()
    return Evidence(
        booked=[
            Booked(
                call_id=row["call_id"],
                provider=row["provider"],
                model=row["model"],
                outcome=row["outcome"],
                nanos=row["total_nanos"],
                admitted=(row["admit_time"] - start).total_seconds(),
            )
            for row in usage
        ],
        billed=_read_bill(bill),
        moves=[_move(row, start) for row in moves],
        unwell=[" ".join(filter(None, row.values())) for row in unwell],
    )


async def all_closed(database_url: str) -> bool:
    """Tells whether every breaker is closed."""
    connection = await asyncpg.connect(database_url)
    try:
        unwell = await connection.fetchval(
            "SELECT count(*) FROM health.circuit WHERE state <> 'closed'"
        )
        return not unwell
    finally:
        await connection.close()


async def database_time(database_url: str) -> dt.datetime:
    """The database's clock."""
    connection = await asyncpg.connect(database_url)
    try:
        now: dt.datetime = await connection.fetchval("SELECT clock_timestamp()")
        return now
    finally:
        await connection.close()


def _read_bill(path: Path) -> list[Billed]:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        Billed(
            call_id=line["id"],
            provider=line["provider"],
            model=line["model"],
            nanos=line["nanos"],
        )
        for line in lines
    ]


def _move(row: asyncpg.Record, start: dt.datetime) -> Move:
    return Move(
        at=(row["move_time"] - start).total_seconds(),
        provider=row["provider"],
        part=_part(row["model"], row["credential"]),
        epoch=row["epoch"],
        before=row["before_state"],
        after=row["after_state"],
        cause=row["cause"],
        actor=row["actor"],
    )


def _part(model: str, credential: str) -> str:
    if model:
        return f"model {model}"
    return f"key of {credential}" if credential else ""
