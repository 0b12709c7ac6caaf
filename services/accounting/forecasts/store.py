"""Reads spend by hours from the rollups."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from chassis.database import Pool
from services.accounting.domain.spending import Spending, read_spending
from services.accounting.queries import FORECASTS, WATCH

# Of one org; all orgs together have too many rows to read so many days.
ORG_DAYS: Final = 90
PLATFORM_DAYS: Final = 35


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Whose spend. Empty: all."""

    org: str = ""
    operation: str = ""
    provider: str = ""
    model: str = ""


class SpendingStore:
    """Reads what has been spent."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def fetch_now(self) -> dt.datetime:
        """Returns the database's time."""
        now: dt.datetime = await self._pool.fetchval(WATCH.fetch_now.sql)
        return now

    async def read(self, wanted: Slice) -> Spending:
        """Returns spend by hours, and what is to be expected of it."""
        now = await self.fetch_now()
        days = ORG_DAYS if wanted.org else PLATFORM_DAYS
        rows = await self._pool.fetch(
            FORECASTS.list_hours.sql,
            now.date() - dt.timedelta(days=days),
            wanted.org,
            wanted.operation,
            wanted.provider,
            wanted.model,
        )
        hours = {
            dt.datetime.combine(row["day"], dt.time(row["hour"]), dt.UTC): int(row["cost_nanos"])
            for row in rows
        }
        return read_spending(hours, now=now)
