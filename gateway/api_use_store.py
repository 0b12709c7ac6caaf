"""The SQL of how the API is used. Each function runs the query of its name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.store import Store


@dataclass(slots=True)
class Count:
    """How many RPCs there were."""

    total: int = 0
    # Ended by what the caller did, such as a wrong field or a missing role.
    refused: int = 0
    # Ended by what we did.
    failed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiUse:
    """How one caller has used one method."""

    method: str
    actor: str
    count: Count


async def add_api_uses(store: Store, uses: Sequence[ApiUse]) -> None:
    """Adds to the counts of today."""
    await store.value(
        "add_api_uses",
        [each.method for each in uses],
        [each.actor for each in uses],
        [each.count.total for each in uses],
        [each.count.refused for each in uses],
        [each.count.failed for each in uses],
    )


async def prune_api_uses(store: Store, *, kept_days: int, count_max: int) -> None:
    """Forgets days that are older, at most so many rows."""
    await store.value("prune_api_uses", kept_days, count_max)


async def list_api_uses(
    store: Store, *, days: int, method: str, actor: str | None, count_max: int
) -> list[ApiUse]:
    """Sums the last so many days, the most used first. Empty method, no actor: all."""
    rows = await store.rows("list_api_uses", days, method, actor, count_max)
    return [
        ApiUse(
            method=row["method"],
            actor=row["actor"],
            count=Count(row["total"], row["refused"], row["failed"]),
        )
        for row in rows
    ]
