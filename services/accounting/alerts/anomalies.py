"""Looks for days that are not like the week before."""

from __future__ import annotations

from typing import Final

from chassis.database import Pool
from services.accounting.alerts.register import notice
from services.accounting.domain.anomalies import WEEK_DAYS, OperationDay, find_anomalies
from services.accounting.queries import FORECASTS

# What stands in the way of others is written in parts.
PART_SIZE: Final = 100


async def look_for_anomalies(pool: Pool) -> int:
    """Raises what is far above the usual; returns how many days are."""
    rows = await pool.fetch(FORECASTS.list_operation_days.sql, WEEK_DAYS)
    days = [
        OperationDay(
            org=row["org"],
            operation=row["operation"],
            day=row["today"],
            cost_nanos=int(row["cost_nanos"]),
            call_count=int(row["call_count"]),
            week_cost_nanos=int(row["week_cost_nanos"]),
            week_call_count=int(row["week_call_count"]),
            usual_day_count=row["usual_day_count"],
        )
        for row in rows
    ]
    found = sorted(find_anomalies(days), key=lambda each: each.key)
    for start in range(0, len(found), PART_SIZE):
        async with pool.acquire() as connection, connection.transaction():
            for condition in found[start : start + PART_SIZE]:
                await notice(connection, condition)
    return len(found)
