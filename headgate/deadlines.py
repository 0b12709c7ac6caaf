"""Ends many waits at their deadlines with few timers."""

from __future__ import annotations

import asyncio
import math
from typing import Any, Final

# Waits that end within one step share a timer; a wait ends at most so much later than it should.
STEP_SECONDS: Final = 0.01


class Deadlines:
    """Gives futures a TimeoutError when their time is over. Belongs to one event loop.

    A timer for each wait would cost more than the wait itself.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._steps: dict[int, set[asyncio.Future[Any]]] = {}

    def add(self, future: asyncio.Future[Any], deadline: float) -> int:
        """Watches a future until the deadline (loop time); returns what `discard` needs."""
        step = math.ceil(deadline / STEP_SECONDS)
        members = self._steps.get(step)
        if members is None:
            members = self._steps[step] = set()
            self._loop.call_at(step * STEP_SECONDS, self._expire, step)
        members.add(future)
        return step

    def discard(self, future: asyncio.Future[Any], step: int) -> None:
        """Forgets a future that has ended."""
        members = self._steps.get(step)
        if members is not None:
            members.discard(future)

    def _expire(self, step: int) -> None:
        for future in self._steps.pop(step):
            if not future.done():
                future.set_exception(TimeoutError())
