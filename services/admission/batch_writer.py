"""Writes what a batch changed, in one round trip.

Each kind of change has a query of its own. Those that a batch needs become one statement: a query
that finds nothing to write costs as much as twenty rows.
"""

from __future__ import annotations

import datetime as dt
import re
import uuid
from collections.abc import Callable, Iterable, Sequence
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeAlias

import asyncpg

from chassis import database
from services.admission.counter_rows import PLAIN_COLUMNS, other_columns
from services.admission.domain.bindings import Binding
from services.admission.domain.calls import CallKey, Reservation
from services.admission.domain.counters import Counter
from services.admission.domain.ids import UNDATED, day_bounds
from services.admission.domain.ledger import Changes
from services.admission.queries import QUERIES

# The parameters of one query: the instant, if it has one, and its columns.
Parameters: TypeAlias = list[Any]
Statement: TypeAlias = "asyncpg.prepared_stmt.PreparedStatement[asyncpg.Record]"

_PARAMETER: Final = re.compile(r"\$([0-9]+)")


class Part(NamedTuple):
    """One kind of change."""

    query: str
    # Returns what there is to write; nothing if there is no change of this kind.
    parameters: Callable[[Changes, dt.datetime], Parameters]


# What nearly all batches need. The others' statements are prepared when they are first needed,
# which is while locks are held.
USUAL: Final = (
    ("write_counters", "insert_opened"),
    ("write_counters", "insert_counter_sets", "insert_opened"),
    ("write_counters", "delete_closed", "insert_ended"),
    ("write_counters", "insert_opened", "delete_closed", "insert_ended"),
    ("write_counters", "insert_counter_sets", "insert_opened", "delete_closed", "insert_ended"),
)


class BatchWriter:
    """Writes on one connection."""

    def __init__(self, connection: database.Connection) -> None:
        self._connection = connection
        # By the parts that a statement is made of.
        self._statements: dict[tuple[str, ...], Statement] = {}

    async def prepare(self) -> None:
        """Prepares the usual statements."""
        for names in USUAL:
            await self._prepare(names)

    async def write(self, changes: Changes, now: dt.datetime) -> None:
        """Writes the changes within the transaction that holds their locks."""
        needed, parameters = [], []
        for part in PARTS:
            found = part.parameters(changes, now)
            if found:
                needed.append(part.query)
                parameters += found
        if needed:
            statement = await self._prepare(tuple(needed))
            await statement.fetch(*parameters)

    async def _prepare(self, names: tuple[str, ...]) -> Statement:
        statement = self._statements.get(names)
        if statement is None:
            queries = [(name, getattr(QUERIES, name).sql) for name in names]
            statement = await self._connection.prepare(join(queries))
            self._statements[names] = statement
        return statement


def join(queries: Sequence[tuple[str, str]]) -> str:
    """Makes one statement of named queries; their parameters follow each other."""
    shifted, count = [], 0
    for name, query in queries:
        moved, added = _shift(query.rstrip().removesuffix(";"), count)
        shifted.append((name, moved))
        count += added
    *others, (_, last) = shifted
    clauses = ",\n".join(f"{name} AS (\n{query}\n)" for name, query in others)
    return f"WITH {clauses}\n{last}" if clauses else last


def _shift(query: str, count: int) -> tuple[str, int]:
    """Makes room for `count` parameters before a query's own; returns how many it has."""
    own = max(int(number) for number in _PARAMETER.findall(query))
    return _PARAMETER.sub(lambda match: f"${int(match[1]) + count}", query), own


def _plain_counters(changes: Changes, now: dt.datetime) -> Parameters:
    plain = [each for each in changes.counters.values() if type(each) is Counter]
    return _sent(now, list(map(_plain, plain)))


def _other_counters(changes: Changes, now: dt.datetime) -> Parameters:
    others = [each for each in changes.counters.values() if type(each) is not Counter]
    return _sent(now, list(map(other_columns, others)))


_plain = attrgetter(*PLAIN_COLUMNS)
# In the order of their types in written_rows.sql.
_opened = attrgetter(
    "key.org", "key.call_id", "fingerprint", "operation", "provider", "model", "held_nanos",
    "held_tokens", "worst_nanos", "worst_tokens", "set_id", "expire_time", "price_version",
    "breaker_epoch",
)  # fmt: skip
_extended = attrgetter("key.org", "key.call_id", "expire_time")
_closed = attrgetter("key.org", "key.call_id")
_ended = attrgetter(
    "key.org", "key.call_id", "id_day", "fingerprint", "operation", "provider", "model",
    "held_nanos", "held_tokens", "set_id", "admit_time", "expire_time", "price_version",
    "breaker_epoch", "state", "settled_nanos", "settled_tokens", "revision", "hold_returned",
)  # fmt: skip
_crossing = attrgetter("counter_id", "limit_id", "percent", "cap", "settled", "owner")
_revised = attrgetter(
    "key.org", "key.call_id", "id_day", "state", "settled_nanos", "settled_tokens", "revision",
    "hold_returned",
)  # fmt: skip


def _set(binding: Binding) -> tuple[uuid.UUID, str, dt.datetime]:
    counters = ",".join([bound.key.counter_id.hex for bound in binding.bounds])
    return binding.set_id, f"{{{counters}}}", binding.valid_until


def _revised_and_days(changes: Changes, now: dt.datetime) -> Parameters:
    columns = _rows(changes.revised, _revised)
    days = day_bounds(each.id_day or UNDATED for each in changes.revised.values())
    return [*columns, *days] if columns else []


# In the order in which the parts stand in a statement.
PARTS: Final = (
    Part("write_counters", _plain_counters),
    Part("write_other_counters", _other_counters),
    Part("insert_counter_sets", lambda changes, now: _transpose(map(_set, changes.sets.values()))),
    Part("insert_opened", lambda changes, now: _sent(now, _sorted(changes.opened, _opened))),
    Part("extend_opened", lambda changes, now: _rows(changes.extended, _extended)),
    Part("delete_closed", lambda changes, now: _rows(changes.closed, _closed)),
    Part("insert_ended", lambda changes, now: _sent(now, _sorted(changes.closed, _ended))),
    Part(
        "insert_crossings",
        lambda changes, now: _dated(now, _transpose(map(_crossing, changes.crossings))),
    ),
    Part("update_ended", _revised_and_days),
)


def _rows(
    reservations: dict[CallKey, Reservation], columns: Callable[[Reservation], tuple[Any, ...]]
) -> Parameters:
    return _transpose(_sorted(reservations, columns))


def _sorted(
    reservations: dict[CallKey, Reservation], columns: Callable[[Reservation], tuple[Any, ...]]
) -> list[tuple[Any, ...]]:
    # Concurrent inserts meet in one order.
    return [columns(reservations[key]) for key in sorted(reservations)]


def _transpose(rows: Iterable[tuple[Any, ...]]) -> Parameters:
    return [list(column) for column in zip(*rows, strict=True)]


def _sent(now: dt.datetime, rows: list[tuple[Any, ...]]) -> Parameters:
    return [now, rows] if rows else []


def _dated(now: dt.datetime, columns: Parameters) -> Parameters:
    return [now, *columns] if columns else []
