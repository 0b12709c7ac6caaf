"""One batch's transaction on a connection of its own: at most four round trips.

Begin with the policy lock; lock and read; write; commit. Rows never leave this module.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final

import asyncpg

from chassis import database
from services.admission.counter_rows import (
    OTHER_COLUMN_COUNT,
    PLAIN_COLUMNS,
    counter_of,
    other_columns,
)
from services.admission.domain.calls import CallKey, Operation, Reservation, State, WriteOff
from services.admission.domain.counters import Counter
from services.admission.domain.ids import id_day_of
from services.admission.domain.ledger import Changes
from services.admission.queries import QUERIES
from services.admission.rows import reservation_of

# The plans that suit batches of keys; statistics of a young table would choose scans.
SESSION_SETTINGS: Final = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
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
        apply: asyncpg.prepared_stmt.PreparedStatement[Any],
    ) -> None:
        self._connection = connection
        self._lock = lock
        self._apply = apply

    @classmethod
    async def prepare(cls, connection: database.Connection) -> BatchStore:
        """Prepares the batch's statements on a fresh connection."""
        return cls(
            connection,
            await connection.prepare(QUERIES.lock_batch.sql),
            await connection.prepare(QUERIES.apply_batch.sql),
        )

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
            [id_day_of(key.call_id) for key in keys],
            list(wanted),
        )
        return None if row is None else _parse(row)

    async def find_due(self, now: dt.datetime, *, count: int) -> list[CallKey]:
        """Returns open calls whose time had passed by `now`, within the batch's transaction."""
        rows = await self._connection.fetch(QUERIES.select_due.sql, now, count)
        return [CallKey(row["org"], row["call_id"]) for row in rows]

    async def commit(self, changes: Changes, now: dt.datetime) -> None:
        """Writes the changes and makes them durable."""
        if changes:
            await self._apply.fetch(now, *_columns(changes))
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


# Columns in the order of the parameters of apply_batch.
_OPENED_COLUMNS = (
    "key.org", "key.call_id", "fingerprint", "operation", "provider", "model", "held_nanos",
    "held_tokens", "worst_nanos", "worst_tokens", "set_id", "expire_time", "price_version",
    "breaker_epoch",
)  # fmt: skip
_EXTENDED_COLUMNS = ("key.org", "key.call_id", "expire_time")
_ENDED_COLUMNS = (
    "key.org", "key.call_id", "id_day", "fingerprint", "operation", "provider", "model",
    "held_nanos", "held_tokens", "set_id", "admit_time", "expire_time", "price_version",
    "breaker_epoch", "state", "settled_nanos", "settled_tokens", "revision", "hold_returned",
)  # fmt: skip
_CROSSING_COLUMNS = ("counter_id", "limit_id", "percent", "cap", "settled", "owner")
_REVISED_COLUMNS = (
    "key.org", "key.call_id", "id_day", "state", "settled_nanos", "settled_tokens", "revision",
    "hold_returned",
)  # fmt: skip


def _audit(order: WriteOff, before: Reservation) -> tuple[str, ...]:
    charged = {"state": before.state, "settled_nanos": before.settled_nanos}
    return (
        order.audit_id,
        f"call/{order.key.org}/{order.key.call_id}",
        json.dumps(charged),
        json.dumps({"state": State.WRITTEN_OFF, "settled_nanos": 0, "reason": order.reason}),
    )


def _columns(changes: Changes) -> list[list[Any]]:
    plain: list[Counter] = []
    others: list[Counter] = []
    for counter in changes.counters.values():
        (plain if type(counter) is Counter else others).append(counter)
    return [
        *_transpose(plain, PLAIN_COLUMNS),
        *(
            [list(column) for column in zip(*map(other_columns, others), strict=True)]
            or [[] for _ in range(OTHER_COLUMN_COUNT)]
        ),
        # Sorted, so that concurrent inserts meet in one order.
        *_transpose(_by_key(changes.opened), _OPENED_COLUMNS),
        *_transpose(_by_key(changes.extended), _EXTENDED_COLUMNS),
        *_transpose(_by_key(changes.closed), _ENDED_COLUMNS),
        *_transpose(changes.crossings, _CROSSING_COLUMNS),
        *_transpose(_by_key(changes.revised), _REVISED_COLUMNS),
    ]


def _by_key(reservations: dict[CallKey, Reservation]) -> list[Reservation]:
    return [reservations[key] for key in sorted(reservations)]


def _transpose(rows: Iterable[object], columns: tuple[str, ...]) -> list[list[Any]]:
    read = attrgetter(*columns)
    values = [read(row) for row in rows]
    return [list(column) for column in zip(*values, strict=True)] or [[] for _ in columns]
