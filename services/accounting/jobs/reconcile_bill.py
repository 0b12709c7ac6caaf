"""Compares the bills of a folder with the books."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

import structlog

from chassis.process import JobError
from services.accounting.books.reconciliation import Bill, Reconciliation
from services.accounting.config import AccountingSettings
from services.accounting.connections import open_accounting_pool
from services.accounting.domain.bills import BadBillError, BillFormat
from services.accounting.domain.reconciliation import TOLERANCE_DEFAULT
from services.accounting.price_store import PriceStore
from services.accounting.prices import Prices

# How files are named after their provider.
_SUFFIXES: Final = {
    ".openai-usage.json": BillFormat.OPENAI_USAGE,
    ".anthropic-usage.json": BillFormat.ANTHROPIC_USAGE,
    ".openai.json": BillFormat.OPENAI_COSTS,
    ".anthropic.json": BillFormat.ANTHROPIC_COSTS,
    ".csv": BillFormat.CSV,
}

log = structlog.get_logger()


async def reconcile_bill(settings: AccountingSettings) -> None:
    """Compares each bill; one that differs is an alert. Raises JobError if one cannot be read."""
    bills = await asyncio.to_thread(_read_folder, settings.bill_directory)
    unreadable = 0
    async with open_accounting_pool(settings, name="accounting-reconcile-bill") as pool:
        reconciliation = Reconciliation(pool, Prices(PriceStore(pool)))
        for name, bill in bills:
            try:
                _, total = await reconciliation.compare(bill)
            except BadBillError as error:
                unreadable += 1
                log.error("bill_unreadable", file=name, error=str(error))
                continue
            log.info(
                "bill_reconciled",
                file=name,
                billed_nanos=total.billed_nanos,
                booked_nanos=total.booked_nanos,
                basis_points=total.basis_points,
                exceeds=total.exceeds,
            )
    log.info("bills_reconciled", bills=len(bills), unreadable=unreadable)
    if unreadable:
        raise JobError(f"{unreadable} bills cannot be read")


def _read_folder(directory: str) -> list[tuple[str, Bill]]:
    if not directory:
        return []
    found = []
    for path in sorted(Path(directory).iterdir()):
        for suffix, kind in _SUFFIXES.items():
            if path.name.endswith(suffix):
                bill = Bill(
                    provider=path.name.removesuffix(suffix).partition(".")[0],
                    content=path.read_bytes(),
                    kind=kind,
                    tolerance=TOLERANCE_DEFAULT,
                )
                found.append((path.name, bill))
                break
    return found
