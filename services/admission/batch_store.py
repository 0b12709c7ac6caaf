"""One batch's transaction on a connection of its own: at most four round trips.

Begin with the policy lock; lock and read; write; commit. Rows never leave this module.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Final

import asyncpg

from chassis import database
from services.admission.domain.calls import CallKey, Operation, Reservation, State
from services.admission.domain.ledger import Changes, Counter, id_day_of
from services.admission.domain.limits import Metric
from services.admission.queries import QUERIES

# The plans that suit batches of keys; statistics of a young table would choose scans.
SESSION_SETTINGS: Final = {
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}

BEGINNING: Final = dt.datetime.min.replace(tzinfo=dt.UTC)


@dataclass(slots=True)
class LockedRows:
    """What a batch decides on, while its locks are held."""

    now: dt.datetime = BEGINNING
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
        rows = await self._lock.fetch(
            version,
            [_id_hash(key) for key in keys],
            [key.org for key in keys],
            [key.call_id for key in keys],
            [id_day_of(key.call_id) for key in keys],
            list(wanted),
        )
        return _parse(rows) if rows else None

    async def commit(self, changes: Changes, now: dt.datetime) -> None:
        """Writes the changes and makes them durable."""
        if changes:
            await self._apply.fetch(now, *_columns(changes))
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


def _parse(rows: Sequence[asyncpg.Record]) -> LockedRows:
    locked = LockedRows()
    for row in rows:
        match row["kind"]:
            case 3:
                counter = Counter(
                    row["counter_id"],
                    Metric(row["metric"]),
                    row["held"],
                    row["settled"],
                    row["overrun"],
                    row["high_cap"],
                )
                locked.counters[counter.counter_id] = counter
                locked.now = max(locked.now, row["instant"])
            case 4:
                locked.now = max(locked.now, row["instant"])
            case 5:
                locked.counter_sets[row["set_id"]] = tuple(row["counter_ids"])
            case _:
                locked.reservations.append(_reservation(row))
    return locked


def _reservation(row: asyncpg.Record) -> Reservation:
    return Reservation(
        key=CallKey(row["org"], row["call_id"]),
        fingerprint=row["fingerprint"],
        operation=row["operation"],
        provider=row["provider"],
        model=row["model"],
        held_nanos=row["held_nanos"],
        set_id=row["set_id"],
        admit_time=row["admit_time"],
        expire_time=row["expire_time"],
        price_version=row["price_version"],
        breaker_epoch=row["breaker_epoch"],
        state=State(row["state"]),
        settled_nanos=row["settled_nanos"],
        revision=row["revision"],
        hold_returned=row["hold_returned"],
        id_day=row["id_day"],
    )


# Columns in the order of the parameters of apply_batch.
_COUNTER_COLUMNS = ("counter_id", "held", "settled", "overrun", "high_cap")
_OPENED_COLUMNS = (
    "key.org", "key.call_id", "fingerprint", "operation", "provider", "model", "held_nanos",
    "set_id", "expire_time", "price_version", "breaker_epoch",
)  # fmt: skip
_ENDED_COLUMNS = (
    "key.org", "key.call_id", "id_day", "fingerprint", "operation", "provider", "model",
    "held_nanos", "set_id", "admit_time", "expire_time", "price_version", "breaker_epoch",
    "state", "settled_nanos", "revision", "hold_returned",
)  # fmt: skip
_REVISED_COLUMNS = ("key.org", "key.call_id", "id_day", "state", "settled_nanos", "revision")


def _columns(changes: Changes) -> list[list[Any]]:
    return [
        *_transpose(changes.counters.values(), _COUNTER_COLUMNS),
        # Sorted, so that concurrent inserts meet in one order.
        *_transpose(_by_key(changes.opened), _OPENED_COLUMNS),
        *_transpose(_by_key(changes.closed), _ENDED_COLUMNS),
        *_transpose(_by_key(changes.revised), _REVISED_COLUMNS),
    ]


def _by_key(reservations: dict[CallKey, Reservation]) -> list[Reservation]:
    return [reservations[key] for key in sorted(reservations)]


def _transpose(rows: Iterable[object], columns: tuple[str, ...]) -> list[list[Any]]:
    read = attrgetter(*columns)
    values = [read(row) for row in rows]
    return [list(column) for column in zip(*values, strict=True)] or [[] for _ in columns]
