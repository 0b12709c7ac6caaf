"""Waits for shared answers: one look into the database for all who wait at this gateway."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from contextlib import suppress
from typing import Final

import structlog

from chassis import notifications
from chassis.errors import Overloaded, translate
from chassis.notifications import Connect
from gateway.flights.store import Answer, Flight, FlightStore

# Where the gateways' database tells of answers that are shared.
CHANNEL: Final = "headgate_gateway_flights"
# The poll behind the notifications; it finds leaders that are gone, too.
POLL_SECONDS: Final = 0.25
# Who waits at one gateway at once; a bound, not a target.
WAITER_COUNT_MAX: Final = 10_000
# Rows of ended calls that one step removes, and how often.
PRUNE_COUNT: Final = 1_000
PRUNE_SECONDS: Final = 10.0

log = structlog.get_logger()


class LostError(Exception):
    """Nobody leads any more."""


class Waits:
    """Gives whoever waits the answer as soon as it is there, wherever it was shared."""

    def __init__(self, store: FlightStore) -> None:
        self._store = store
        # Set by whoever hears that something was shared, and by whoever begins to wait.
        self.woken = asyncio.Event()
        self._waiting: dict[Flight, set[asyncio.Future[Answer]]] = defaultdict(set)
        self._count = 0

    async def wait(self, flight: Flight, *, seconds: float) -> Answer | None:
        """Returns the answer. None: not yet. Raises LostError, Overloaded."""
        if self._count >= WAITER_COUNT_MAX:
            raise Overloaded
        told: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[flight].add(told)
        self._count += 1
        self.woken.set()
        try:
            async with asyncio.timeout(seconds):
                return await told
        except TimeoutError:
            return None
        finally:
            self._count -= 1
            self._waiting[flight].discard(told)
            if not self._waiting[flight]:
                del self._waiting[flight]

    async def run(self) -> None:
        """Looks until cancelled; costs nothing while nobody waits."""
        failing = False
        while True:
            self.woken.clear()
            try:
                await self._look()
                failing = False
            except Exception as error:  # noqa: BLE001 - the next look tells the same
                if not failing:
                    log.warning("shared_answers_not_read", reason=translate(error).reason)
                failing = True
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS if self._waiting else None):
                    await self.woken.wait()

    async def follow(self, listen: Connect) -> None:
        """Hears what other gateways share, until cancelled."""
        await notifications.follow(listen, CHANNEL, self.woken.set)

    async def prune(self) -> None:
        """Forgets answers that nobody waits for any more, until cancelled."""
        while True:
            await asyncio.sleep(PRUNE_SECONDS)
            try:
                while await self._store.prune_flights(count_max=PRUNE_COUNT) == PRUNE_COUNT:
                    pass
            except Exception as error:  # noqa: BLE001 - the next step removes them
                log.warning("shared_answers_not_pruned", reason=translate(error).reason)

    async def _look(self) -> None:
        wanted = list(self._waiting)
        if not wanted:
            return
        found = await self._store.fetch_flights(wanted)
        for flight in wanted:
            answer = found.get(flight)
            for told in self._waiting.get(flight, ()):
                if told.done():
                    continue
                if answer is not None:
                    told.set_result(answer)
                elif flight not in found:
                    told.set_exception(LostError())
