"""Outcomes on their way to health: told in the background, because no caller waits for them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import grpc
import structlog
from opentelemetry.metrics import Meter

from headgate.api.health.v1 import health_pb2

# Beyond this many the oldest go: a breaker wants to know how the provider does now.
WAITING_COUNT_MAX: Final = 8_192
BATCH_SIZE_MAX: Final = 256
DRAIN_SECONDS_MAX: Final = 5.0
# Pause after a failure, so that an absent health is not asked in a tight loop.
PAUSE_SECONDS: Final = 0.2

Observe = Callable[[Sequence[health_pb2.Observation]], Awaitable[None]]

log = structlog.get_logger()


class Observations:
    """Tells health how calls ended: in order, each at most once, bounded.

    What health does not take is dropped and counted: a repeat could open a breaker early.
    """

    def __init__(self, observe: Observe, meter: Meter) -> None:
        self._observe = observe
        self._waiting: deque[health_pb2.Observation] = deque()
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self.dropped_count = 0
        self._dropped = meter.create_counter(
            "headgate.gateway.observations.dropped",
            unit="{observation}",
            description="Outcomes that health never learned.",
        )

    def put(self, observation: health_pb2.Observation) -> None:
        """Queues an outcome; never waits."""
        if len(self._waiting) >= WAITING_COUNT_MAX:
            self._waiting.popleft()
            self._count_dropped(1)
        self._waiting.append(observation)
        self._idle.clear()
        self._changed.set()

    async def run(self) -> None:
        """Sends what gathers until cancelled."""
        while True:
            await self._changed.wait()
            self._changed.clear()
            while self._waiting:
                await self._send_batch()
            self._idle.set()

    async def drain(self) -> None:
        """Returns when all were sent, or after a bounded wait. `run` must be running."""
        try:
            async with asyncio.timeout(DRAIN_SECONDS_MAX):
                await self._idle.wait()
        except TimeoutError:
            self._count_dropped(len(self._waiting))
            log.warning("observations_not_drained", count=len(self._waiting))

    async def _send_batch(self) -> None:
        batch = [self._waiting.popleft() for _ in range(min(len(self._waiting), BATCH_SIZE_MAX))]
        try:
            await self._observe(batch)
        except grpc.aio.AioRpcError as error:
            self._count_dropped(len(batch))
            log.warning("observations_dropped", count=len(batch), code=error.code().name)
            await asyncio.sleep(PAUSE_SECONDS)

    def _count_dropped(self, count: int) -> None:
        self.dropped_count += count
        self._dropped.add(count)
