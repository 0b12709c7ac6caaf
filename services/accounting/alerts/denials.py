"""Asks admission which budgets deny: nothing is settled then, so that no threshold tells it."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from chassis.database import Pool
from headgate.api.admission.v1 import admission_pb2
from headgate.api.common.v1 import limit_pb2
from services.accounting.alerts.register import notice
from services.accounting.domain.findings import Denials, describe_denials
from services.accounting.queries import WATCH

RPC_TIMEOUT_SECONDS: Final = 5.0
PAGE_SIZE: Final = 1_000
# What was denied longer ago is no news.
RECENT: Final = dt.timedelta(minutes=10)
# Windows of budgets: what a rate denies passes a moment later.
_BUDGETS: Final = frozenset({"calendar", "total", "interval"})


class DeniedBudgets:
    """Raises alerts on budgets that have denied calls lately."""

    def __init__(self, pool: Pool, admission: Any) -> None:
        """`admission` is its stub."""
        self._pool = pool
        self._admission = admission

    async def look(self) -> int:
        """Looks at the last ten minutes; returns how many budgets deny. Raises AioRpcError."""
        answer = await self._admission.ListViolations(
            admission_pb2.ListViolationsRequest(page_size=PAGE_SIZE), timeout=RPC_TIMEOUT_SECONDS
        )
        now: dt.datetime = await self._pool.fetchval(WATCH.fetch_now.sql)
        counts, requested = _sum(answer, now)
        if not counts:
            return 0
        owners = await self._find_budgets()
        found = [
            Denials(
                limit_id=limit_id,
                org=org,
                denial_count=count,
                requested_nanos=requested[limit_id, org],
                owner=owners[limit_id],
            )
            for (limit_id, org), count in sorted(counts.items())
            if limit_id in owners
        ]
        for denials in found:
            async with self._pool.acquire() as connection, connection.transaction():
                await notice(connection, describe_denials(denials, now=now))
        return len(found)

    async def _find_budgets(self) -> Mapping[str, str]:
        """Returns the owners of all limits on money that do not refill by themselves."""
        owners: dict[str, str] = {}
        request = admission_pb2.ListLimitsRequest(page_size=PAGE_SIZE)
        while True:
            page = await self._admission.ListLimits(request, timeout=RPC_TIMEOUT_SECONDS)
            for limit in page.limits:
                is_budget = any(limit.HasField(window) for window in _BUDGETS)
                if limit.metric == limit_pb2.METRIC_COST and is_budget:
                    owners[limit.limit_id] = limit.owner
            if not page.next_page_token:
                return owners
            request.page_token = page.next_page_token


def _sum(
    answer: admission_pb2.ListViolationsResponse, now: dt.datetime
) -> tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]]:
    counts: Counter[tuple[str, str]] = Counter()
    requested: Counter[tuple[str, str]] = Counter()
    for each in answer.violations:
        if not each.shadow and now - each.minute.ToDatetime(tzinfo=dt.UTC) <= RECENT:
            counts[each.limit_id, each.org] += each.call_count
            requested[each.limit_id, each.org] += each.requested_nanos
    return counts, requested
