"""Prepares the usage log's coming days. A booking makes a missing day's partition itself."""

from __future__ import annotations

from services.accounting.config import AccountingSettings
from services.accounting.connections import open_connection
from services.accounting.partitions import ensure_coming_days


async def create_partitions(settings: AccountingSettings) -> None:
    """Makes the partitions of today and the coming days, unless they exist."""
    async with open_connection(settings, name="accounting-create-partitions") as connection:
        await ensure_coming_days(connection)
