"""Rows that must exist before a batch: counters, partitions of ended calls; and which sets do."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Collection, Iterable
from typing import Any, Final

from chassis import database
from services.admission.domain.bindings import Binding, CounterKey
from services.admission.domain.ids import UNDATED, id_day_of
from services.admission.queries import QUERIES
from services.admission.rows import window_columns

# Beyond this many sets the memory of what exists starts over: creating again changes nothing.
KNOWN_COUNT_MAX: Final = 100_000
# Days in ids for which a partition is made: from beyond the settlement horizon to tomorrow's skew.
PAST_DAY_COUNT: Final = 40
COMING_DAY_COUNT: Final = 3


class Counters:
    """Creates what is missing, in transactions of their own, and remembers what exists."""

    def __init__(self, pool: database.Pool) -> None:
        self._pool = pool
        self._known_sets: set[uuid.UUID] = set()
        self._known_days: set[dt.date] = {UNDATED}
        # Whether the last sets that were not met before lacked counters. Scopes that are new come
        # in rows; so do those that only this replica does not remember.
        self._expects_new = False

    async def ensure(self, bindings: Iterable[Binding]) -> None:
        """Creates the counters of sets not met before, if the last ones of those were missing."""
        if not self._expects_new:
            return
        keys = {
            bound.key.counter_id: bound.key
            for each in bindings
            if each.set_id not in self._known_sets
            for bound in each.bounds
        }
        if keys:
            self._expects_new = await self._insert(keys.values()) > 0

    async def create(self, keys: Collection[CounterKey], bindings: Iterable[Binding]) -> None:
        """Creates counters, at zero, that the lock of these bindings has missed."""
        self._known_sets.difference_update(each.set_id for each in bindings)
        if keys:
            self._expects_new = True
            await self._insert(keys)

    def drop_known(self, sets: dict[uuid.UUID, Binding]) -> None:
        """Leaves the sets whose rows may be missing: they are written with the batch."""
        for set_id in [each for each in sets if each in self._known_sets]:
            del sets[set_id]

    def remember(self, sets: Iterable[uuid.UUID]) -> None:
        """Notes sets whose rows were committed."""
        if len(self._known_sets) > KNOWN_COUNT_MAX:
            self._known_sets.clear()
        self._known_sets.update(sets)

    async def _insert(self, keys: Collection[CounterKey]) -> int:
        done = await self._pool.execute(QUERIES.insert_counters.sql, *_columns(keys))
        return int(done.rpartition(" ")[2])

    async def ensure_partitions(self, call_ids: Iterable[uuid.UUID], now: dt.datetime) -> None:
        """Creates the partitions that these calls may end in."""
        days = {id_day_of(call_id) for call_id in call_ids} - self._known_days
        for day in sorted(days):
            if -PAST_DAY_COUNT <= (day - now.date()).days <= COMING_DAY_COUNT:
                await self._pool.execute(QUERIES.ensure_ended_partition.sql, day)
                self._known_days.add(day)

    async def read_clock(self) -> dt.datetime:
        """Returns the database's time."""
        instant: dt.datetime = await self._pool.fetchval(QUERIES.select_clock.sql)
        return instant


def _columns(keys: Iterable[CounterKey]) -> list[list[Any]]:
    rows = [
        (
            key.counter_id,
            key.rank,
            key.org,
            json.dumps(dict(key.scope)),
            key.metric.value,
            *window_columns(key.window).values(),
            key.span.start,
            key.span.end,
        )
        for key in keys
    ]
    return [list(column) for column in zip(*rows, strict=True)]
