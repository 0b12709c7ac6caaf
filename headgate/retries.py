"""Repeats of RPCs that are safe to repeat, because the same id goes with them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from headgate.errors import Overloaded, RpcError, Unavailable

R = TypeVar("R")

DELAY_SECONDS_MIN: Final = 0.02
DELAY_SECONDS_MAX: Final = 1.0


async def repeat(
    attempt: Callable[[], Awaitable[R]],
    *,
    deadline: float,
    retried: tuple[type[RpcError], ...] = (Unavailable, Overloaded),
) -> R:
    """Calls `attempt` until it succeeds, fails for good, or the deadline (loop time) is near.

    Waits what an overloaded gateway asks for, else a random time that grows. Raises the last
    attempt's error; one that asks for a wait beyond the deadline is raised at once.
    """
    loop = asyncio.get_running_loop()
    bound_seconds = DELAY_SECONDS_MIN
    while True:
        try:
            return await attempt()
        except retried as error:
            # Clients that failed together must not come back together.
            delay = bound_seconds * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
            if error.retry_delay is not None:
                delay += error.retry_delay.total_seconds()
            if loop.time() + delay >= deadline:
                raise
        await asyncio.sleep(delay)
        bound_seconds = min(bound_seconds * 2, DELAY_SECONDS_MAX)
