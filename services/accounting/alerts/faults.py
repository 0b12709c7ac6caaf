"""Looks through our own log for calls that cost more than was held, had no price or no report, or
took another model's place.
"""

from __future__ import annotations

from typing import Final

from chassis.database import Pool
from services.accounting.alerts.register import notice
from services.accounting.domain.findings import (
    Switch,
    UsageFault,
    UsageFinding,
    describe_switch,
    describe_usage,
)
from services.accounting.queries import WATCH

FEED: Final = "usage"
PAGE_SIZE: Final = 5_000


class UsageFaults:
    """Raises alerts on booked calls, each row of the log once."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def look(self) -> int:
        """Looks at all rows that were booked since the last look; returns how many.

        Returns 0 at once if another replica looks.
        """
        looked = 0
        while True:
            count = await self._look_at_page()
            looked += count
            if count < PAGE_SIZE:
                return looked

    async def _look_at_page(self) -> int:
        async with self._pool.acquire() as connection, connection.transaction():
            cursor = await connection.fetchrow(WATCH.lock_cursor.sql, FEED)
            if cursor is None:
                return 0
            start = (cursor["transaction_id"], cursor["row_id"])
            rows = await connection.fetch(WATCH.find_usage_faults.sql, *start, PAGE_SIZE)
            if not rows:
                return 0
            (reach,) = [row for row in rows if row["fault"] is None]
            findings = [
                describe_usage(
                    UsageFinding(
                        fault=UsageFault(row["fault"]),
                        org=row["org"],
                        operation=row["operation"],
                        provider=row["provider"],
                        model=row["model"],
                        call_count=row["call_count"],
                        cost_nanos=int(row["cost_nanos"]),
                        overrun_nanos=int(row["overrun_nanos"]),
                    ),
                    now=cursor["now"],
                )
                for row in rows
                if row["fault"] is not None
            ]
            end = (reach["transaction_id"], reach["row_id"])
            switches = await connection.fetch(WATCH.find_switches.sql, *start, *end)
            findings += [describe_switch(Switch(**row), now=cursor["now"]) for row in switches]
            # In one order, so that no two who notice the same wait for each other.
            for condition in sorted(findings, key=lambda each: each.key):
                await notice(connection, condition)
            await connection.fetchval(WATCH.advance_cursor.sql, FEED, *start, *end)
            count: int = reach["call_count"]
            return count
