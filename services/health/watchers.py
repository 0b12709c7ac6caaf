"""Watching: every stream gets a snapshot, then what changed, then silence only if it is lost.

One task per process reads the version, woken by notifications and by its own clock, and loads the
state when it moved. Streams wait for it and compute what they lack from the newest state: a slow
one skips what is superseded and costs no memory.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import replace
from typing import Final

from chassis import notifications
from chassis.errors import StoreUnavailable
from chassis.looking import keep_looking
from chassis.notifications import Connect
from services.health.domain import states
from services.health.domain.breakers import Key
from services.health.domain.states import HealthState, Update
from services.health.store import CHANNEL, Store

# The poll behind the notifications: how late a change may arrive when they are lost.
POLL_SECONDS: Final = 0.5
# Half of what the contract promises, so that a late one is in time.
HEARTBEAT_SECONDS: Final = 1.0
# A process that could not read for so long must not claim to be up to date.
STALE_SECONDS: Final = 2.0
# Breakers that health keeps; the outcomes of invented providers and credentials fill no table.
BREAKER_COUNT_MAX: Final = 10_000


class Watchers:
    """Spreads the state to any number of streams."""

    def __init__(
        self, store: Store, *, connect: Connect | None, poll_seconds: float = POLL_SECONDS
    ) -> None:
        """`connect` opens a connection for notifications; None: the poll alone finds changes."""
        self._store = store
        self._connect = connect
        self._poll_seconds = poll_seconds
        self._state = HealthState(version=0, breakers=(), kills=())
        # Loop time of the last reading that worked.
        self._read_time = float("-inf")
        # Set, and replaced, whenever streams may have something to do.
        self._moved = asyncio.Event()
        self._woken = asyncio.Event()
        # Grows when the database's past changed: streams must start again from a snapshot.
        self._era = 0
        # The database's clock, and this loop's at the same moment.
        self._clock: tuple[dt.datetime, float] | None = None
        self._known: frozenset[Key] = frozenset()

    async def run(self) -> None:
        """Follows the state until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(), name="follow-health")
            if self._connect is not None:
                listening = notifications.follow(self._connect, {CHANNEL: self._woken.set})
                tasks.create_task(listening, name="listen-health")

    def admits(self, key: Key) -> bool:
        """Tells whether a breaker is known, or may be made, as of the last reading."""
        return len(self._known) < BREAKER_COUNT_MAX or key in self._known

    async def watch(self) -> AsyncGenerator[Update]:
        """Yields a snapshot, then changes and heartbeats.

        Ends when only a new snapshot would be right. Raises StoreUnavailable when this process
        can't tell any more what is true.
        """
        era, began = self._era, asyncio.get_running_loop().time()
        state = await self._store.read_state()
        if era == self._era:
            self._learn(state, began)
        yield states.snapshot(state)
        known = state.version
        while True:
            await self._wait(known)
            if era != self._era:
                return
            if asyncio.get_running_loop().time() - self._read_time > STALE_SECONDS:
                raise StoreUnavailable
            update = states.changes_since(self._state, known)
            yield replace(update, now=self._database_time())
            known = update.version

    def _database_time(self) -> dt.datetime | None:
        if self._clock is None:
            return None
        then, at = self._clock
        return then + dt.timedelta(seconds=asyncio.get_running_loop().time() - at)

    async def _wait(self, known: int) -> None:
        """Returns when there is news, or a heartbeat is due."""
        with suppress(TimeoutError):
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                while self._state.version == known:
                    await self._moved.wait()

    async def _follow(self) -> None:
        await keep_looking(
            self._read,
            pause=lambda: self._poll_seconds,
            failed="health_state_not_read",
            woken=self._woken,
        )

    async def _read(self) -> None:
        began = asyncio.get_running_loop().time()
        version, now = await self._store.read_version()
        self._clock = (now, asyncio.get_running_loop().time())
        if version != self._state.version:
            self._publish(await self._store.read_state())
        self._read_time = began

    def _learn(self, state: HealthState, began: float) -> None:
        """Takes what a stream has read: it must not know more than its process does."""
        if state.version > self._state.version:
            self._publish(state)
        if state.version == self._state.version:
            self._read_time = max(self._read_time, began)

    def _publish(self, state: HealthState) -> None:
        if state.version < self._state.version:
            # Restored from a backup: what watchers know of the lost versions is wrong.
            self._era += 1
        self._state = state
        self._known = frozenset(breaker.key for breaker in state.breakers)
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
