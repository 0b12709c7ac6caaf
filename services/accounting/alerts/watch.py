"""Looks for what is wrong, on every replica: whichever is first raises it, the others find it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import grpc
import structlog

from chassis.database import Pool, is_unavailable
from services.accounting.alerts.crossings import CrossingFeed
from services.accounting.alerts.denials import DeniedBudgets
from services.accounting.alerts.faults import UsageFaults
from services.accounting.alerts.fitness import Fitness
from services.accounting.alerts.register import resolve_expired

# A crossing is told within about this.
STEP_SECONDS: Final = 1.0
# Every so many steps: health, which is asked and not followed, and what nobody waits for.
FITNESS_STEPS: Final = 2
SLOW_STEPS: Final = 30

log = structlog.get_logger()

Look = Callable[[], Awaitable[object]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """All that looks. None: nobody said where to ask."""

    pool: Pool
    faults: UsageFaults
    crossings: CrossingFeed | None
    denials: DeniedBudgets | None
    fitness: Fitness | None

    async def run(self) -> None:
        """Looks until cancelled. A peer or a database that is away is asked again."""
        step = 0
        failing: set[str] = set()
        while True:
            for name, every, look in self._looks():
                if step % every == 0:
                    await _try(name, look, failing)
            step += 1
            await asyncio.sleep(STEP_SECONDS)

    async def check(self) -> list[str]:
        """Looks at everything once; returns what could not be looked at."""
        failing: set[str] = set()
        for name, _, look in self._looks():
            await _try(name, look, failing)
        return sorted(failing)

    def _looks(self) -> list[tuple[str, int, Look]]:
        looks: list[tuple[str, int, Look]] = [("usage", 1, self.faults.look)]
        if self.crossings is not None:
            looks.append(("crossings", 1, self.crossings.pull))
        if self.fitness is not None:
            looks.append(("health", FITNESS_STEPS, self.fitness.compare))
        if self.denials is not None:
            looks.append(("denials", SLOW_STEPS, self.denials.look))
        looks.append(("expiry", SLOW_STEPS, self._resolve))
        return looks

    async def _resolve(self) -> None:
        async with self.pool.acquire() as connection, connection.transaction():
            await resolve_expired(connection)


async def _try(name: str, look: Look, failing: set[str]) -> None:
    try:
        await look()
    except Exception as error:
        if not isinstance(error, grpc.aio.AioRpcError) and not is_unavailable(error):
            raise
        # Once for each outage, not each second.
        if name not in failing:
            failing.add(name)
            reason = error.code().name if isinstance(error, grpc.aio.AioRpcError) else "database"
            log.warning("alerts_not_looked_for", look=name, reason=reason)
    else:
        failing.discard(name)
