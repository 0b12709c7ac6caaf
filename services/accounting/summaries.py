"""Sums of usage from the rollups or the log, whichever can answer."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import asyncpg

from chassis.database import Pool
from chassis.errors import FieldViolation, InvalidArgument
from services.accounting.domain.meters import METER_FIELDS
from services.accounting.domain.summaries import (
    Dimension,
    Level,
    Source,
    UsageQuery,
    UsageSums,
    add_all,
    choose_level,
)
from services.accounting.queries import SUMMARIES

# Sorts after every text: names are printable.
LAST_TEXT: Final = "\U0010ffff"
# How the statements name periods.
_PERIODS: Final = {Dimension.HOUR: 1, Dimension.DAY: 2, Dimension.MONTH: 3}
_SPLITS: Final = (Dimension.ORG, Dimension.OPERATION, Dimension.PROVIDER, Dimension.MODEL)

# Day, hour, org, operation, provider, model, whether there is a value, and which.
Key: TypeAlias = tuple[dt.date, int, str, str, str, str, bool, str]
_NO_GROUPS: Final = frozenset[Dimension]()
_INSTANT: Final = dt.timedelta(microseconds=1)
_FIRST: Final[Key] = (dt.date.min, 0, "", "", "", "", False, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some of the sums."""

    # Sorted by what they are grouped by.
    rows: Sequence[UsageSums]
    # The last row's key, if there are more rows.
    next_after: Key | None
    # Sums over all pages. None: nothing was used, or it is not the first page.
    total: UsageSums | None
    source: Source
    # Days that only the log could tell of, and does not any more.
    dropped_days: Sequence[dt.date] = ()


class Summaries:
    """Answers queries of usage."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def answer(
        self, query: UsageQuery, *, source: Source | None, count: int, after: Key | None
    ) -> Page:
        """Returns a page from the log, the rollups or, without a source, whichever can answer.

        Raises InvalidArgument if the rollups were asked for and cannot.
        """
        level = None if source is Source.LOG else await self.find_level(query)
        if level is None and source is Source.ROLLUP:
            description = "only the log can answer this; leave the source out"
            raise InvalidArgument([FieldViolation("source", description)])
        return await self.read(query, level, count=count, after=after)

    async def find_level(self, query: UsageQuery) -> Level | None:
        """Returns the rollups that can answer. None: only the log can."""
        level = choose_level(query)
        if level is not Level.DIMENSION_DAY:
            return level
        (dimension,) = {*query.values, *filter(None, [query.split])}
        label = dimension.removeprefix("label.")
        if label == dimension or await self._pool.fetchval(
            SUMMARIES.is_rolled_up.sql, label, query.start.date()
        ):
            return level
        return None

    async def read(
        self, query: UsageQuery, level: Level | None, *, count: int, after: Key | None = None
    ) -> Page:
        """Returns at most `count` sums after a key, from a level's rollups or from the log."""
        rows = await self._fetch(query, level, count + 1, after)
        page = [_sums(row) for row in rows[:count]]
        if after is not None:
            total = None
        elif len(rows) > count:
            whole_level = level if query.values or not query.split else _whole(level)
            whole = await self._fetch(replace(query, group_by=_NO_GROUPS), whole_level, 1, None)
            total = _sums(whole[0])
        else:
            total = add_all(page)
        dropped: Sequence[dt.date] = ()
        if level is None:
            days = (query.start.date(), (query.end - _INSTANT).date())
            dropped = [
                row["day"]
                for row in await self._pool.fetch(SUMMARIES.list_dropped_days.sql, *days)
            ]
        return Page(
            dropped_days=dropped,
            rows=page,
            next_after=_key(rows[count - 1]) if len(rows) > count else None,
            total=total,
            source=Source.LOG if level is None else level.source,
        )

    async def _fetch(
        self, query: UsageQuery, level: Level | None, limit: int, after: Key | None
    ) -> list[asyncpg.Record]:
        period = max((_PERIODS.get(each, 0) for each in query.group_by), default=0)
        splits = [each in query.group_by for each in _SPLITS]
        place = (period, *splits, query.split != "", *(after or _FIRST), after is None, limit)
        orgs = (query.org, query.org or LAST_TEXT)
        models = (query.operation, query.provider, query.model)
        if level is None:
            log_place = (*place, query.start, query.end, *orgs, *models)
            return await self._fetch_log(*log_place, *_log_values(query.values, query.split))
        instants = (query.start.date(), query.start.hour, query.end.date(), query.end.hour)
        ((dimension, value),) = query.values.items() if query.values else ((query.split, ""),)
        return await self._pool.fetch(
            SUMMARIES.sum_rollups.sql,
            *place,
            *_signed_levels(query, level),
            *(*orgs, *instants, *models, dimension, value),
        )

    async def _fetch_log(self, *arguments: Any) -> list[asyncpg.Record]:
        async with self._pool.acquire() as connection, connection.transaction(readonly=True):
            # A plan for all values would expect few rows, and look each one's names up by itself.
            await connection.execute(SUMMARIES.plan_for_values.sql)
            return await connection.fetch(SUMMARIES.sum_usage_log.sql, *arguments)


def _whole(level: Level | None) -> Level | None:
    # Calls with and without a value are together in the days of the orgs.
    return None if level is None else Level.ORG_DAY


def _signed_levels(query: UsageQuery, level: Level) -> tuple[list[int], list[bool], list[int]]:
    if level is not Level.DIMENSION_DAY or query.values:
        return [level.value], [bool(query.split)], [1]
    # With a value, and without one: those of the org's day less those with one.
    return [level.value, level.value, Level.ORG_DAY.value], [True, False, False], [1, -1, 1]


def _log_values(values: Mapping[str, str], split: str) -> tuple[str | None, ...]:
    labels = {
        name.removeprefix("label."): value
        for name, value in values.items()
        if name.startswith("label.")
    }
    return (
        values.get("api_key", ""),
        values.get("user", ""),
        split,
        values.get("team", ""),
        values.get("feature", ""),
        json.dumps(labels) if labels else None,
    )


def _key(row: asyncpg.Record) -> Key:
    day, hour, org, operation, provider, model, has_value, value = tuple(row)[:8]
    return day, hour, org, operation, provider, model, has_value, value


def _sums(row: asyncpg.Record) -> UsageSums:
    def whole(field: str) -> Any:
        return None if row[field] is None else int(row[field])

    return UsageSums(
        day=None if row["day"] == dt.date.min else row["day"],
        hour=row["hour"],
        org=row["org"],
        operation=row["operation"],
        provider=row["provider"],
        model=row["model"],
        has_value=row["has_value"],
        value=row["value"],
        call_count=whole("call_count"),
        failed_count=whole("failed_count"),
        unreported_count=whole("unreported_count"),
        cost_nanos=whole("cost_nanos"),
        unreported_cost_nanos=whole("unreported_cost_nanos"),
        baseline_nanos=whole("baseline_nanos"),
        latency_histogram=whole("latency_histogram"),
        meters=tuple(map(whole, METER_FIELDS)),
        saved_nanos=whole("saved_nanos"),
        approved_count=whole("approved_count"),
    )
