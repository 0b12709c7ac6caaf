"""Forgets old events, with what was sent of them. Alerts and their history stay."""

from __future__ import annotations

import datetime as dt
from typing import Final

import structlog

from chassis.database import Connection
from services.accounting.config import AccountingSettings
from services.accounting.connections import open_connection
from services.accounting.queries import DELIVERY

# Rows that one statement forgets: none of them holds locks for long.
PART_SIZE: Final = 5_000

log = structlog.get_logger()


async def prune_events(settings: AccountingSettings) -> None:
    """Deletes ended deliveries and events beyond the retention. What waits is never deleted."""
    retention = dt.timedelta(days=settings.event_retention_days)
    async with open_connection(settings, name="accounting-prune-events") as connection:
        deliveries = await _repeat(connection, DELIVERY.prune_deliveries.sql, retention)
        events = await _repeat(connection, DELIVERY.prune_events.sql, retention)
    log.info("events_pruned", events=events, deliveries=deliveries)


async def _repeat(connection: Connection, statement: str, retention: dt.timedelta) -> int:
    total = 0
    while count := len(await connection.fetch(statement, retention, PART_SIZE)):
        total += count
        log.info("events_pruning", rows=total)
    return total
