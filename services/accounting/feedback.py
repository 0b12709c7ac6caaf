"""How good calls were: keeps scores, and sums them by what calls were for and where they went."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from dataclasses import dataclass, replace
from typing import Final

from chassis.database import Connection, Pool
from chassis.errors import FailedPrecondition, FieldViolation, InvalidArgument, NotFound
from services.accounting.domain.summaries import Dimension, UsageQuery, UsageSums
from services.accounting.domain.usage import HORIZON
from services.accounting.queries import FEEDBACK
from services.accounting.store import CLOCK_SKEW
from services.accounting.summaries import LAST_TEXT, Page

# Distinct metrics of the calls of one org and day.
METRIC_COUNT_MAX: Final = 100
_PERIODS: Final = {Dimension.DAY: 2, Dimension.MONTH: 3}
_SPLITS: Final = (Dimension.ORG, Dimension.OPERATION, Dimension.PROVIDER, Dimension.MODEL)
_TOO_MANY: Final = 4


class Effect(enum.IntEnum):
    """What became of a score; the numbers are the contract's and the schema's."""

    KEPT = 1
    UNCHANGED = 2
    REPLACED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedCall:
    """Where a call went, and when it was admitted."""

    operation: str
    provider: str
    model: str
    admit_time: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """How good a call was, by one metric."""

    org: str
    call_id: uuid.UUID
    metric: str
    # From 0 to a million.
    micros: int
    # None: look it up.
    call: RatedCall | None


class Feedback:
    """Keeps one score of each call and metric: the last."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def record(self, score: Score) -> Effect:
        """Keeps a score. Raises NotFound for a call that is not booked and came without its facts,
        FailedPrecondition for one that is too old, InvalidArgument for one metric too many.
        """
        call = score.call or await self._find_call(score)
        now = dt.datetime.now(dt.UTC)
        if not now - HORIZON <= call.admit_time <= now + CLOCK_SKEW:
            days = str(HORIZON.days)
            message = f"only calls of the last {days} days can be scored"
            raise FailedPrecondition(message, "TOO_LATE", horizon_days=days)
        status = await self._pool.fetchval(
            FEEDBACK.record_feedback.sql,
            *(score.org, score.call_id, score.metric, score.micros),
            *(call.admit_time.date(), call.operation, call.provider, call.model),
            METRIC_COUNT_MAX,
        )
        if status == _TOO_MANY:
            description = f"the org has {METRIC_COUNT_MAX} metrics on the call's day already"
            raise InvalidArgument([FieldViolation("metric", description)])
        return Effect(status)

    async def add_scores(self, query: UsageQuery, page: Page) -> None:
        """Adds scores to sums that are split by what feedback is kept by; others get none."""
        if query.values or query.split or Dimension.HOUR in query.group_by:
            return
        if query.start.time() != dt.time() or query.end.time() != dt.time():
            return
        if page.rows:
            await self._add(query, {_key(row): row for row in page.rows}, page.rows[0])
        if page.total is not None:
            whole = replace(query, group_by=frozenset())
            await self._add(whole, {_key(page.total): page.total}, page.total)

    async def _add(
        self, query: UsageQuery, sums: dict[tuple[object, ...], UsageSums], first: UsageSums
    ) -> None:
        period = max((_PERIODS.get(each, 0) for each in query.group_by), default=0)
        last = next(reversed(sums.values()))
        rows = await self._pool.fetch(
            FEEDBACK.sum_feedback.sql,
            *(period, *(each in query.group_by for each in _SPLITS)),
            *(query.start.date(), query.end.date(), query.org, query.org or LAST_TEXT),
            *(query.operation, query.provider, query.model),
            *_key(first),
            *_key(last),
        )
        for row in rows:
            found = sums.get(tuple(row)[:5])
            if found is not None:
                scores = {row["metric"]: (row["score_count"], row["score_micros"])}
                found.scores = {**found.scores, **scores}

    async def _find_call(self, score: Score) -> RatedCall:
        row = await self._pool.fetchrow(FEEDBACK.find_rated_call.sql, score.org, score.call_id)
        if row is None:
            raise NotFound("call", str(score.call_id))
        return RatedCall(**row)


async def delete_old(connection: Connection, retention_days: int) -> int:
    """Deletes the scores of calls whose log is gone; their sums stay. Returns how many."""
    count: int = await connection.fetchval(FEEDBACK.delete_old_feedback.sql, retention_days)
    return count


def _key(row: UsageSums) -> tuple[object, ...]:
    day = dt.date.min if row.day is None else row.day
    return (day, row.org, row.operation, row.provider, row.model)
