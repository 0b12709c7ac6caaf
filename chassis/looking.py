"""Looks that are repeated: at once when somebody knows that it pays, else after a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from chassis.errors import translate

log = structlog.get_logger()


async def keep_looking(
    look: Callable[[], Awaitable[object]],
    *,
    pause: Callable[[], float | None],
    failed: str,
    woken: asyncio.Event | None = None,
) -> None:
    """Looks until cancelled. Of each outage the first failure is logged, as the event `failed`.

    `pause` says after each look how long, in seconds, the next one may wait for `woken`; None: for
    ever.
    """
    due = asyncio.Event() if woken is None else woken
    failing = False
    while True:
        due.clear()
        try:
            await look()
            failing = False
        except Exception as error:  # noqa: BLE001 - what was seen grows old; the next look mends it
            # Looks are many, and all that follow would say the same.
            if not failing:
                log.warning(failed, reason=translate(error).reason)
            failing = True
        with suppress(TimeoutError):
            async with asyncio.timeout(pause()):
                await due.wait()
