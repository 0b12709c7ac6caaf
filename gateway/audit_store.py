"""The SQL of the audit log's chain. Each method runs the query of its name."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import asyncpg

from gateway.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainRecord:
    """One link of the chain: an entry when it was made, or what became of it."""

    position: int
    is_intent: bool
    audit_id: str
    create_time: dt.datetime
    actor: str
    action: str
    target: str
    reason: str
    request_json: str
    # None in an intent.
    done: bool | None
    error: str
    hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenEntry:
    """An entry of which nobody knows what became."""

    audit_id: str
    action: str


class AuditStore:
    """Reads the chain, each statement by itself on a pooled connection."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def list_audit_records(self, *, above: int, count_max: int) -> list[ChainRecord]:
        """Returns links of the chain, oldest first."""
        rows = await self._store.rows("list_audit_records", above, count_max)
        return [_read(row) for row in rows]

    async def count_unlinked(self) -> int:
        """Returns how many entries and outcomes stand in no chain."""
        return int(await self._store.value("count_unlinked"))

    async def list_open_entries(self, *, after_seconds: float) -> list[OpenEntry]:
        """Returns entries without an outcome for so long, oldest first."""
        rows = await self._store.rows("list_open_entries", after_seconds)
        return [OpenEntry(audit_id=row["audit_id"], action=row["action"]) for row in rows]


def _read(row: asyncpg.Record) -> ChainRecord:
    is_intent = row["kind"] == "intent"
    return ChainRecord(
        position=row["position"],
        is_intent=is_intent,
        audit_id=str(row["audit_id"]),
        create_time=row["create_time"],
        actor=row["actor"],
        action=row["action"],
        target=row["target"],
        reason=row["reason"],
        request_json=row["request_json"],
        done=None if is_intent else row["done"],
        error="" if is_intent else row["error"],
        hash=row["hash"],
    )
