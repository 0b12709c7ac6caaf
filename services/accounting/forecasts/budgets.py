"""When budgets run out: admission knows what is used of them, the rollups how fast it goes."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from chassis.database import Pool
from headgate.api.admission.v1 import admission_pb2
from headgate.api.common.v1 import limit_pb2
from services.accounting.alerts.register import notice
from services.accounting.domain.findings import HighForecast, describe_forecast
from services.accounting.domain.spending import PeriodForecast, Spending
from services.accounting.forecasts.store import Slice, SpendingStore

RPC_TIMEOUT_SECONDS: Final = 5.0
PAGE_SIZE: Final = 1_000
COUNTER_COUNT_MAX: Final = 10_000
# Dimensions by which the rollups can tell spend; budgets by others are not forecast.
_DIMENSIONS: Final = frozenset({"org", "operation", "provider", "model"})
# Below this part of a cap a budget is not looked at: what it may come to is anybody's guess.
USED_PERCENT_MIN: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """One counter of money with a cap, and what will become of it."""

    limit_id: str
    scope: Mapping[str, str]
    # None: it has none.
    start_time: dt.datetime | None
    end_time: dt.datetime | None
    cap_nanos: int
    used_nanos: int
    # None: nobody knows, or it has no end.
    forecast: PeriodForecast | None = None
    # None: not within the period.
    exhaustion_time: dt.datetime | None = None


class Budgets:
    """Asks admission for budgets and forecasts them."""

    def __init__(self, pool: Pool, store: SpendingStore, admission: Any) -> None:
        """`admission` is its stub; None: nobody said where to ask."""
        self._pool = pool
        self._store = store
        self._admission = admission

    async def forecast(self, org: str) -> list[Budget]:
        """Returns the running budgets of an org, or of the platform. Raises AioRpcError."""
        spending = await self._store.read(Slice(org=org))
        own = {"org": org} if org else {}
        return [
            foresee(budget, spending)
            for budget in await self._list(spending.now, org)
            if dict(budget.scope) == own
        ]

    async def check(self) -> int:
        """Raises an alert for each budget that will not last; returns how many. Raises
        AioRpcError.
        """
        found = 0
        known: dict[Slice, Spending] = {}
        now = await self._store.fetch_now()
        for budget in await self._list(now, None):
            wanted = Slice(**dict(budget.scope))
            if budget.used_nanos * 100 < budget.cap_nanos * USED_PERCENT_MIN:
                continue
            if wanted not in known:
                known[wanted] = await self._store.read(wanted)
            foreseen = foresee(budget, known[wanted])
            if foreseen.forecast is None or foreseen.exhaustion_time is None:
                continue
            async with self._pool.acquire() as connection, connection.transaction():
                await notice(connection, describe_forecast(_describe(foreseen)))
            found += 1
        return found

    async def _list(self, now: dt.datetime, org: str | None) -> Sequence[Budget]:
        """Returns budgets whose period runs, of an org, of the platform (empty), or of all."""
        if self._admission is None:
            return []
        budgets: list[Budget] = []
        request = admission_pb2.ListCountersRequest(page_size=PAGE_SIZE, org=org)
        read = 0
        while read < COUNTER_COUNT_MAX:
            page = await self._admission.ListCounters(request, timeout=RPC_TIMEOUT_SECONDS)
            read += len(page.counters)
            budgets += [each for each in map(_read, page.counters) if _is_running(each, now)]
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        return budgets


def foresee(budget: Budget, spending: Spending) -> Budget:
    """Returns the budget with what will become of it."""
    forecast = None
    if budget.start_time is not None and budget.end_time is not None:
        forecast = spending.forecast(
            budget.start_time, budget.end_time, spent_nanos=budget.used_nanos
        )
    remaining = budget.cap_nanos - budget.used_nanos
    return Budget(
        limit_id=budget.limit_id,
        scope=budget.scope,
        start_time=budget.start_time,
        end_time=budget.end_time,
        cap_nanos=budget.cap_nanos,
        used_nanos=budget.used_nanos,
        forecast=forecast,
        exhaustion_time=spending.exhaustion_time(remaining, budget.end_time),
    )


def _read(counter: limit_pb2.CounterState) -> Budget:
    is_budget = (
        counter.metric == limit_pb2.METRIC_COST
        and counter.HasField("cap")
        and counter.mode in (limit_pb2.LIMIT_MODE_UNSPECIFIED, limit_pb2.LIMIT_MODE_ENFORCE)
        and not (counter.HasField("rolling") or counter.HasField("bucket"))
        and set(counter.scope) <= _DIMENSIONS
    )
    return Budget(
        limit_id=counter.limit_id,
        scope=dict(counter.scope),
        start_time=counter.start_time.ToDatetime(tzinfo=dt.UTC)
        if counter.HasField("start_time")
        else None,
        end_time=counter.end_time.ToDatetime(tzinfo=dt.UTC)
        if counter.HasField("end_time")
        else None,
        # What is no budget has no cap, and is left out.
        cap_nanos=counter.cap if is_budget else 0,
        used_nanos=counter.settled + counter.held,
    )


def _is_running(budget: Budget, now: dt.datetime) -> bool:
    has_begun = budget.start_time is None or budget.start_time <= now
    return (
        budget.cap_nanos > 0 and has_begun and (budget.end_time is None or now < budget.end_time)
    )


def _describe(budget: Budget) -> HighForecast:
    if budget.forecast is None:
        raise AssertionError("only what is forecast is told")
    return HighForecast(
        limit_id=budget.limit_id,
        scope=budget.scope,
        start_time=budget.start_time,
        end_time=budget.end_time,
        cap_nanos=budget.cap_nanos,
        spent_nanos=budget.used_nanos,
        low_nanos=budget.forecast.low_nanos,
        expected_nanos=budget.forecast.expected_nanos,
        high_nanos=budget.forecast.high_nanos,
        exhaustion_time=budget.exhaustion_time,
    )
