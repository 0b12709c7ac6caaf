"""How long a denied call waits before it asks again, while it may wait for room."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from headgate.decisions import Decision, Denial, DenialReason, RetryKind
from headgate.errors import RpcError
from headgate.outlooks import LimitsState

PAUSE_SECONDS_MIN: Final = 0.1
PAUSE_SECONDS_MAX: Final = 2.0
# Who hears of room need not ask for it; a stream may be silent for a reason of its own.
PATIENCE_SECONDS_MAX: Final = 10.0
# A stream for less is not worth its beginning.
PATIENCE_SECONDS_MIN: Final = 0.5
# Each stream makes a replica of admission look four times a second.
WATCHER_COUNT_MAX: Final = 16
# Calls that wait for the same moment must not all come at it.
JITTER_SHARE: Final = 0.1
JITTER_SECONDS_MAX: Final = 1.0


@dataclass(slots=True)
class Waiting:
    """The pauses of one call. A delay that is promised is waited out; else they grow."""

    # Loop time after which it waits no longer.
    until: float
    random: Callable[[], float] = random.random
    _bound_seconds: float = PAUSE_SECONDS_MIN

    def find_pause(self, denial: Denial, now: float) -> float | None:
        """Returns how many seconds to wait before asking again. None: waiting is over, or idle."""
        left = self.until - now
        if left <= 0 or denial.retry_kind is RetryKind.NEVER:
            return None
        if denial.reason is DenialReason.UNREACHABLE:
            return None
        delay = None if denial.retry_delay is None else denial.retry_delay.total_seconds()
        if delay is not None and denial.retry_kind is RetryKind.AT:
            jitter = min(delay * JITTER_SHARE, JITTER_SECONDS_MAX) * self.random()
            # There is no room before that, so a shorter wait would be in vain.
            return None if delay > left else min(delay + jitter, left)
        pause = self._bound_seconds * (0.5 + self.random() / 2)
        self._bound_seconds = min(self._bound_seconds * 2, PAUSE_SECONDS_MAX)
        return min(pause, left, left if delay is None else delay)

    def find_patience(self, denial: Denial, pause: float, now: float) -> float:
        """Returns how many seconds to wait if a stream says meanwhile that there is no room."""
        if denial.retry_kind is RetryKind.AT:
            return pause
        delay = None if denial.retry_delay is None else denial.retry_delay.total_seconds()
        left = max(self.until - now, 0.0)
        return min(PATIENCE_SECONDS_MAX, left, left if delay is None else delay)


class Watcher:
    """Hears when limits have room for one call, for as long as its stream lives."""

    def __init__(
        self, states: AsyncIterator[LimitsState], *, on_end: Callable[[object], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        # The stream said last that there is no room.
        self._is_shut = False
        # It has said that there is room, and nobody has asked for it since.
        self._has_opened = False
        self._change: asyncio.Future[None] = self._loop.create_future()
        self._task = self._loop.create_task(self._follow(states))
        self._task.add_done_callback(on_end)

    async def wait(self, pause: float, patience: float) -> None:
        """Returns when there is room, else after `patience`, or `pause` if the stream is mute."""
        start = self._loop.time()
        while not self._has_opened:
            bound = patience if self._is_shut else pause
            left = start + bound - self._loop.time()
            if left <= 0:
                return
            if self._change.done():
                self._change = self._loop.create_future()
            # Awaiting the change itself would hide a cancellation that comes with it.
            await asyncio.wait({self._change}, timeout=left)
        self._has_opened = False

    def close(self) -> None:
        """Ends the stream."""
        self._task.cancel()

    async def _follow(self, states: AsyncIterator[LimitsState]) -> None:
        try:
            async for state in states:
                self._note(is_shut=not state.open, has_opened=state.open)
        except RpcError:
            # An older gateway, too many watchers, a lost connection: asking now and then is left.
            pass
        finally:
            self._note(is_shut=False, has_opened=self._has_opened)

    def _note(self, *, is_shut: bool, has_opened: bool) -> None:
        self._is_shut, self._has_opened = is_shut, has_opened
        if not self._change.done():
            self._change.set_result(None)


class Watches:
    """Bounds how many calls of a client have a stream: the others ask now and then."""

    def __init__(self) -> None:
        self._count = 0

    def open(self, states: AsyncIterator[LimitsState]) -> Watcher | None:
        """Returns what hears of room by the stream, unless there are as many as may be."""
        if self._count >= WATCHER_COUNT_MAX:
            return None
        self._count += 1
        return Watcher(states, on_end=self._note_end)

    def _note_end(self, _: object) -> None:
        self._count -= 1


async def wait_for_room(
    denial: Denial,
    *,
    until: float,
    ask: Callable[[], Awaitable[Decision]],
    watch: Callable[[], Watcher | None],
) -> Decision:
    """Asks again when limits have room, as a stream tells, or now and then without one.

    Returns the last decision, at the latest soon after `until` (loop time).
    """
    loop = asyncio.get_running_loop()
    waiting = Waiting(until=until)
    watcher: Watcher | None = None
    decision: Decision = denial
    try:
        while isinstance(decision, Denial):
            pause = waiting.find_pause(decision, loop.time())
            if pause is None:
                break
            patience = waiting.find_patience(decision, pause, loop.time())
            if watcher is None and patience >= PATIENCE_SECONDS_MIN:
                watcher = watch()
            if watcher is None:
                await asyncio.sleep(pause)
            else:
                await watcher.wait(pause, patience)
            decision = await ask()
    finally:
        if watcher is not None:
            watcher.close()
    return decision
