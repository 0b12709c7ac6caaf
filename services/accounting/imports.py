"""Imports the shipped price catalogue into the price book."""

from __future__ import annotations

import asyncio

import structlog

from chassis.database import Pool
from services.accounting.alerts.price_faults import CATALOGUE, PriceFaults
from services.accounting.catalogue import read_catalogue
from services.accounting.price_store import PriceStore

log = structlog.get_logger()


async def import_catalogue(pool: Pool) -> int:
    """Writes the prices of the database's today that differ; returns the book's version.

    An unchanged catalogue makes no new version. A model that is no longer offered, or at a price
    out of bounds, keeps its last price; the latter is an alert, as is a catalogue that cannot be
    read.
    """
    store, faults = PriceStore(pool), PriceFaults(pool)
    try:
        catalogue = await asyncio.to_thread(read_catalogue, await store.fetch_today())
    except Exception as error:
        await faults.refused(CATALOGUE, f"cannot be read: {type(error).__name__}", count=0)
        raise
    version, change = await store.import_catalogue(catalogue.prices)
    for name in catalogue.rejected:
        log.error("price_rejected", model=name)
    if catalogue.rejected:
        words = f"{catalogue.rejected[0]}: the price is out of bounds"
        await faults.refused(CATALOGUE, words, count=len(catalogue.rejected))
    else:
        await faults.accepted(CATALOGUE)
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
