"""Work that a server repeats for as long as it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

log = structlog.get_logger()


async def repeat(name: str, work: Callable[[], Awaitable[None]], seconds: float) -> None:
    """Calls `work`, again and again, with pauses in between; its failures are logged."""
    while True:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - a peer or the database is away: next time
            log.warning("loop_failed", loop=name, error=f"{type(error).__name__}: {error}"[:300])
        await asyncio.sleep(seconds)
