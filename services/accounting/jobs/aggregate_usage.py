"""Recomputes past days from the usage log; repairs and reports what differs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Final

import structlog

from chassis.process import JobError
from services.accounting.config import AccountingSettings
from services.accounting.connections import open_connection
from services.accounting.domain.usage import HORIZON
from services.accounting.verification import find_differences, list_days, rebuild

# A day's log is summed by one statement.
STATEMENT_TIMEOUT_MS: Final = 600_000
# One more than the horizon: a day is verified once after its last report.
DAYS_BACK: Final = HORIZON.days + 1
# Differences of a day that are logged one by one.
LOGGED_COUNT_MAX: Final = 20

log = structlog.get_logger()


async def aggregate_usage(settings: AccountingSettings) -> None:
    """Verifies each past day that can still get reports. Raises JobError if one had differed."""
    total = 0
    async with open_connection(
        settings, name="accounting-aggregate-usage", statement_timeout_ms=STATEMENT_TIMEOUT_MS
    ) as connection:
        days = await list_days(connection, days_back=DAYS_BACK)
        for number, day in enumerate(days, start=1):
            differences = await find_differences(connection, day)
            for each in differences[:LOGGED_COUNT_MAX]:
                log.error(
                    "rollup_differs",
                    day=str(day),
                    **asdict(each),
                )
            if differences:
                await rebuild(connection, day)
            total += len(differences)
            log.info(
                "day_verified",
                day=str(day),
                number=number,
                of=len(days),
                differences=len(differences),
            )
    if total:
        raise JobError(f"{total} rollups differed from the usage log and were rebuilt")
    log.info("rollups_verified", days=len(days))
