"""One batch's transaction on a connection of its own: at most four round trips.

Begin with the policy lock; lock and read; write; commit. Rows never leave this module.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import asyncpg

from chassis import database
from services.admission.batch_writer import BatchWriter
from services.admission.counter_rows import counter_of
from services.admission.domain.calls import CallKey, Operation, Reservation, State, WriteOff
from services.admission.domain.counters import Counter
from services.admission.domain.ids import day_bounds, id_day_of
from services.admission.domain.ledger import Changes
from services.admission.queries import QUERIES
from services.admission.rows import reservation_of

# The plans that suit batches of keys; statistics of a young table would choose scans.
SESSION_SETTINGS: Final = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "enable_bitmapscan": "off",
    "enable_material": "off",
}


@dataclass(slots=True)
class LockedRows:
    """What a batch decides on, while its locks are held."""

    now: dt.datetime
    reservations: list[Reservation] = field(default_factory=list)
    counters: dict[uuid.UUID, Counter] = field(default_factory=dict)
    counter_sets: dict[uuid.UUID, tuple[uuid.UUID, ...]] = field(default_factory=dict)


class BatchStore:
    """Runs one batch at a time on one connection."""

    def __init__(
        self,
        connection: database.Connection,
        lock: asyncpg.prepared_stmt.PreparedStatement[Any],
        writer: BatchWriter,
    ) -> None:
        self._connection = connection
        self._lock = lock
        self._writer = writer

    @classmethod
    async def prepare(cls, connection: database.Connection) -> BatchStore:
        """Prepares a fresh connection for batches."""
        writer = BatchWriter(connection)
        await writer.prepare()
        return cls(connection, await connection.prepare(QUERIES.lock_batch.sql), writer)

    @property
    def is_usable(self) -> bool:
        """False once the connection is lost."""
        return not self._connection.is_closed()

    async def begin(self) -> None:
        """Opens the transaction and takes the shared policy lock."""
        await self._connection.execute(QUERIES.begin_batch.sql)

    async def lock(
        self, version: int, operations: Sequence[Operation], wanted: Iterable[uuid.UUID]
    ) -> LockedRows | None:
        """Takes the batch's locks and reads its rows; None if the policy has another version."""
        keys = [operation.key for operation in operations]
        row = await self._lock.fetchrow(
            version,
            [_id_hash(key) for key in keys],
            [key.org for key in keys],
            [key.call_id for key in keys],
            *day_bounds(id_day_of(key.call_id) for key in keys),
            list(wanted),
        )
        return None if row is None else _parse(row)

    async def find_due(self, now: dt.datetime, *, count: int) -> list[CallKey]:
        """Returns open calls whose time had passed by `now`, within the batch's transaction."""
        rows = await self._connection.fetch(QUERIES.select_due.sql, now, count)
        return [CallKey(row["org"], row["call_id"]) for row in rows]

    async def commit(self, changes: Changes, now: dt.datetime) -> None:
        """Writes the changes and makes them durable."""
        await self._writer.write(changes, now)
        for order, before in changes.written_off:
            await self._connection.execute(QUERIES.insert_change.sql, *_audit(order, before))
        await self._connection.execute("COMMIT")

    async def rollback(self) -> None:
        """Gives the locks back; nothing was changed."""
        if self.is_usable:
            await self._connection.execute("ROLLBACK")

    async def close(self) -> None:
        """Closes the connection."""
        await self._connection.close(timeout=2)

    def terminate(self) -> None:
        """Drops the connection without a word; the database rolls back."""
        self._connection.terminate()


def _id_hash(key: CallKey) -> int:
    # Orgs may choose the same UUIDs; equal hashes of different calls only wait for each other.
    value = (key.call_id.int ^ (key.call_id.int >> 64)) & 0xFFFF_FFFF_FFFF_FFFF
    return value - (1 << 64) if value >> 63 else value


def _parse(row: asyncpg.Record) -> LockedRows:
    counters = [counter_of(each) for each in row["counters"] or ()]
    used = [each["last_use_time"] for each in row["counters"] or ()]
    return LockedRows(
        now=max([row["instant"], *used]),
        reservations=[reservation_of(each) for each in row["calls"] or ()],
        counters={counter.counter_id: counter for counter in counters},
        counter_sets={each["set_id"]: tuple(each["counter_ids"]) for each in row["sets"] or ()},
    )


def _audit(order: WriteOff, before: Reservation) -> tuple[str, ...]:
    charged = {"state": before.state, "settled_nanos": before.settled_nanos}
    return (
        order.audit_id,
        f"call/{order.key.org}/{order.key.call_id}",
        json.dumps(charged),
        json.dumps({"state": State.WRITTEN_OFF, "settled_nanos": 0, "reason": order.reason}),
    )
