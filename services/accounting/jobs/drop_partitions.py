"""Drops days of the log that are older than the retention, after they were sealed."""

from __future__ import annotations

from pathlib import Path

import structlog

from services.accounting.books.retention import list_expired_days, seal_and_drop
from services.accounting.config import AccountingSettings
from services.accounting.connections import open_connection
from services.accounting.feedback import delete_old
from services.accounting.jobs.aggregate_usage import STATEMENT_TIMEOUT_MS

log = structlog.get_logger()


async def drop_partitions(settings: AccountingSettings) -> None:
    """Verifies, writes out, seals and drops each day beyond the retention; rollups stay."""
    directory = Path(settings.export_directory) if settings.export_directory else None
    async with open_connection(
        settings, name="accounting-drop-partitions", statement_timeout_ms=STATEMENT_TIMEOUT_MS
    ) as connection:
        days = await list_expired_days(connection, settings.retention_days)
        for day in days:
            sealed = await seal_and_drop(connection, day, export_directory=directory)
            log.info(
                "day_dropped",
                day=str(day),
                rows=sealed.row_count,
                cost_nanos=sealed.cost_nanos,
                differences=sealed.difference_count,
                path=str(sealed.path or ""),
            )
        score_count = await delete_old(connection, settings.retention_days)
    log.info("partitions_dropped", days=len(days), scores=score_count)
