"""Imports the price catalogue that this version ships."""

from __future__ import annotations

from services.accounting.config import AccountingSettings
from services.accounting.connections import open_accounting_pool
from services.accounting.imports import import_catalogue


async def import_prices(settings: AccountingSettings) -> None:
    """Writes what differs, as one new version of the price book, or none."""
    async with open_accounting_pool(settings, name="accounting-import-prices") as pool:
        await import_catalogue(pool)
