"""Imports the shipped price catalogue into the price book."""

from __future__ import annotations

import asyncio

import structlog

from services.accounting.catalogue import read_catalogue
from services.accounting.price_store import PriceStore

log = structlog.get_logger()


async def import_catalogue(store: PriceStore) -> int:
    """Writes the prices of the database's today that differ; returns the book's version.

    An unchanged catalogue makes no new version. A model that is no longer offered, or at a price
    out of bounds, keeps its last price.
    """
    catalogue = await asyncio.to_thread(read_catalogue, await store.fetch_today())
    version, change = await store.import_catalogue(catalogue.prices)
    for name in catalogue.rejected:
        log.error("price_rejected", model=name)
    log.info(
        "prices_imported",
        version=version,
        added=len(change.written) - change.replaced_count,
        replaced=change.replaced_count,
        unchanged=change.unchanged_count,
        kept=change.kept_count,
        rejected=len(catalogue.rejected),
        without_token_price=catalogue.unpriced_count,
    )
    return version
