"""Deletes expired permits to probe. They count for nothing; this only keeps their table small."""

from __future__ import annotations

from typing import Final

import structlog

from services.health.store import Store

# Rows deleted in one transaction.
BATCH_SIZE: Final = 1000

log = structlog.get_logger()


async def prune_probes(store: Store) -> int:
    """Deletes all expired permits that nobody is using and returns their count."""
    total = 0
    while deleted := await store.prune_permits(BATCH_SIZE):
        total += deleted
    log.info("probes_pruned", count=total)
    return total
