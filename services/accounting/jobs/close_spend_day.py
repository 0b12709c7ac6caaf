"""Closes the day that ended, and each month that ended some days ago."""

from __future__ import annotations

import structlog

from services.accounting.books.statements import Statements
from services.accounting.config import AccountingSettings
from services.accounting.connections import open_accounting_pool

log = structlog.get_logger()


async def close_spend_day(settings: AccountingSettings) -> None:
    """Writes the statements that are due. A day needs no closing: its sums are live."""
    async with open_accounting_pool(settings, name="accounting-close-spend-day") as pool:
        statements = Statements(pool)
        months = await statements.list_open()
        closed_count = 0
        for place, month in enumerate(months, start=1):
            statement, closed = await statements.close(month, audit_id="")
            closed_count += closed
            log.info(
                "month_closed",
                month=f"{month:%Y-%m}",
                number=place,
                of=len(months),
                cost_nanos=statement.cost_nanos,
                correction_nanos=statement.correction_nanos,
            )
    log.info("spend_day_closed", closed_months=closed_count)
