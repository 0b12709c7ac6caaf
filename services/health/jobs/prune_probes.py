"""Deletes expired permits to probe, breakers that nobody needs any more, and old history.

They count for nothing; this only keeps their tables small.
"""

from __future__ import annotations

from typing import Final

import structlog

from services.health.store import Store

# Rows deleted in one transaction.
BATCH_SIZE: Final = 1000

log = structlog.get_logger()


async def prune_probes(store: Store) -> int:
    """Deletes all that is over and that nobody is using; returns the count of permits."""
    total = 0
    while deleted := await store.prune_permits(BATCH_SIZE):
        total += deleted
    await store.prune_breakers()
    log.info("probes_pruned", count=total)
    return total
