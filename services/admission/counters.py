"""Rows that must exist before a batch: counters, their sets, partitions of ended calls."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Iterable
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

    async def ensure(self, bindings: Iterable[Binding]) -> None:
        """Creates the counters of these bindings, at zero, unless they exist."""
        missing = [each for each in bindings if each.set_id not in self._known_sets]
        if not missing:
            return
        keys = {bound.key.counter_id: bound.key for each in missing for bound in each.bounds}
        if keys:
            await self._pool.execute(QUERIES.insert_counters.sql, *_columns(keys.values()))
        await self._pool.execute(
            QUERIES.insert_counter_sets.sql,
            [each.set_id for each in missing],
            [_list(each) for each in missing],
            [each.valid_until for each in missing],
        )
        if len(self._known_sets) > KNOWN_COUNT_MAX:
            self._known_sets.clear()
        self._known_sets.update(each.set_id for each in missing)

    async def ensure_partitions(self, call_ids: Iterable[uuid.UUID], now: dt.datetime) -> None:
        """Creates the partitions that these calls may end in."""
        days = {id_day_of(call_id) for call_id in call_ids} - self._known_days
        for day in sorted(days):
            if -PAST_DAY_COUNT <= (day - now.date()).days <= COMING_DAY_COUNT:
                await self._pool.execute(QUERIES.ensure_ended_partition.sql, day)
                self._known_days.add(day)

    def forget(self) -> None:
        """Forgets what exists, because something turned out not to."""
        self._known_sets.clear()

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


def _list(binding: Binding) -> str:
    return "{" + ",".join(bound.key.counter_id.hex for bound in binding.bounds) + "}"
