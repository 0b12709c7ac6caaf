"""Sets of limits in Postgres: written in their caller's transaction, under the policy lock."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

import asyncpg

from chassis.errors import AlreadyExists, FailedPrecondition
from services.admission.domain.limits import Limit
from services.admission.queries import QUERIES
from services.admission.rows import limit_columns

# Quoted: generic for the type checker only.
Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

# Every change makes each replica read all limits: this many take a tenth of a second.
LIMIT_COUNT_MAX: Final = 20_000


async def write_set(
    connection: Connection, limits: Sequence[Limit], deleted: Sequence[str], audit_id: str
) -> int:
    """Writes and deletes limits; returns by how many there are more. Raises AlreadyExists,
    FailedPrecondition.
    """
    ids = [*(limit.limit_id for limit in limits), *deleted]
    rows = {limit.limit_id: limit_columns(limit) for limit in limits}
    found = await connection.fetch(QUERIES.select_limits.sql, ids)
    before = {row["limit_id"]: row["fields"] for row in found}
    # First all go: one may take the pattern of another.
    await connection.execute(QUERIES.delete_limits.sql, ids)
    await check_count(connection, added=len(limits))
    await _insert_limits(connection, limits, rows)
    for limit in limits:
        await check_overlap(connection, limit, rows[limit.limit_id])
    await connection.executemany(
        QUERIES.insert_change.sql,
        [
            (audit_id, f"limit/{limit_id}", before.get(limit_id), _render(rows, limit_id))
            for limit_id in ids
            if limit_id in before or limit_id in rows
        ],
    )
    return len(limits) - len(before)


async def check_count(connection: Connection, *, added: int = 1) -> None:
    """Raises FailedPrecondition if there would be too many."""
    if await connection.fetchval(QUERIES.count_limits.sql) + added > LIMIT_COUNT_MAX:
        raise FailedPrecondition(
            "there are as many limits as can be kept; delete some, or use a pattern with '*'",
            "TOO_MANY_LIMITS",
            limit_count_max=str(LIMIT_COUNT_MAX),
        )


async def check_overlap(connection: Connection, limit: Limit, columns: dict[str, Any]) -> None:
    """Raises AlreadyExists if another temporary limit has its pattern at the same time."""
    if not limit.is_temporary:
        return
    pattern = list(columns.values())[: list(columns).index("cap")]
    if await connection.fetchval(
        QUERIES.select_overlapping.sql, *pattern, columns["valid_from"], columns["valid_until"]
    ):
        raise already_exists(limit)


def already_exists(limit: Limit) -> AlreadyExists:
    """Returns the error of a limit whose pattern another one has."""
    return AlreadyExists(
        "another limit has the same scope, metric and window at the same time; change that one",
        reason="LIMIT_EXISTS",
        limit=limit.limit_id,
    )


async def _insert_limits(
    connection: Connection, limits: Sequence[Limit], rows: Mapping[str, dict[str, Any]]
) -> None:
    try:
        async with connection.transaction():
            await connection.executemany(
                QUERIES.upsert_limit.sql, [tuple(row.values()) for row in rows.values()]
            )
    except asyncpg.UniqueViolationError:
        # One by one, to find out which it is.
        for limit in limits:
            try:
                await connection.execute(QUERIES.upsert_limit.sql, *rows[limit.limit_id].values())
            except asyncpg.UniqueViolationError as error:
                raise already_exists(limit) from error


def _render(rows: Mapping[str, dict[str, Any]], limit_id: str) -> str | None:
    return json.dumps(rows[limit_id], default=str) if limit_id in rows else None
