"""Waits for shared answers: one look into the database for all who wait at this gateway."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from chassis.errors import translate
from chassis.looking import keep_looking
from gateway.flights.store import Answer, Flight, FlightStore
from gateway.waiters import Waiters

# Where the gateways' database tells of answers that are shared.
CHANNEL: Final = "headgate_gateway_flights"
# The poll behind the notifications; it finds leaders that are gone, too.
POLL_SECONDS: Final = 0.25
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
        self._waiters: Waiters[Flight, Answer] = Waiters()

    async def wait(self, flight: Flight, *, seconds: float) -> Answer | None:
        """Returns the answer. None: not yet. Raises LostError, Overloaded."""
        with self._waiters.waiting(flight) as told:
            self.woken.set()
            try:
                async with asyncio.timeout(seconds):
                    return await told
            except TimeoutError:
                return None

    async def run(self) -> None:
        """Looks until cancelled; costs nothing while nobody waits."""
        await keep_looking(
            self._look,
            pause=lambda: POLL_SECONDS if self._waiters.keys() else None,
            failed="shared_answers_not_read",
            woken=self.woken,
        )

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
        wanted = self._waiters.keys()
        if not wanted:
            return
        found = await self._store.fetch_flights(wanted)
        for flight in wanted:
            answer = found.get(flight)
            if answer is not None:
                self._waiters.tell(flight, answer)
            elif flight not in found:
                self._waiters.tell(flight, LostError())
