"""Spreads accounting's feed of events to any number of watchers, each at its own pace.

One reader follows the feed while anybody watches, and keeps the newest events. A watcher has
nothing but its place in the feed: it takes what comes after from what is kept, or reads it again
if it lags behind. So none loses an event, and a slow one costs no memory.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, TypeAlias

import structlog

from chassis.errors import Overloaded, ServiceError
from gateway.domain.event_filters import EventFilter
from headgate.api.accounting.v1 import events_pb2
from headgate.api.common.v1 import event_pb2

# How late the feed is read: events are rare, and a look costs accounting one query.
POLL_SECONDS: Final = 0.025
# A feed that cannot be read is tried again after this.
RETRY_SECONDS: Final = 1.0
# Silence of a stream is shorter.
HEARTBEAT_SECONDS: Final = 10.0
# Whether a watcher may still watch is looked at so often.
LOOK_SECONDS: Final = 1.0
# Bounds, not targets: watchers of one gateway, events that it keeps, events of one read.
WATCHER_COUNT_MAX: Final = 1_000
KEPT_COUNT_MAX: Final = 1_000
PAGE_SIZE: Final = 500

# A place in the feed: the writing transaction, and the event's number.
Place: TypeAlias = tuple[int, int]
# An event and its place; None: a sign of life.
Told: TypeAlias = tuple[event_pb2.Event | None, Place]
Read: TypeAlias = Callable[
    [events_pb2.EventCursor | None, int], Awaitable[events_pb2.ListEventFeedResponse]
]
# Raises ServiceError if the watcher may not watch any more.
Look: TypeAlias = Callable[[], Awaitable[None]]

log = structlog.get_logger()


class EventWatch:
    """Tells watchers of events in the order of the feed. What it gives is shared."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._kept: deque[tuple[event_pb2.Event, Place]] = deque()
        # All events after the first place, up to the second, are kept. None: nobody reads.
        self._reach: tuple[Place, Place] | None = None
        # Set, and replaced, whenever the feed went on.
        self._moved = asyncio.Event()
        self._wanted = asyncio.Event()
        self._count = 0

    async def run(self) -> None:
        """Follows the feed whenever anybody watches, until cancelled."""
        failing = False
        while True:
            await self._wanted.wait()
            try:
                await self._step()
                failing = False
            except ServiceError as error:
                # Once for each outage.
                if not failing:
                    log.warning("events_not_read", reason=error.reason)
                failing = True
                await asyncio.sleep(RETRY_SECONDS)

    async def watch(
        self, wanted: EventFilter, after: Place | None, look: Look
    ) -> AsyncGenerator[Told]:
        """Yields a sign of life, then events after a place, or from now on, as they come.

        Raises Overloaded when too many watch, and whatever `look` raises.
        """
        if self._count >= WATCHER_COUNT_MAX:
            raise Overloaded
        self._count += 1
        self._wanted.set()
        try:
            async for told in self._tell(wanted, after, look):
                yield told
        finally:
            self._count -= 1

    async def _tell(
        self, wanted: EventFilter, after: Place | None, look: Look
    ) -> AsyncGenerator[Told]:
        time = asyncio.get_running_loop().time
        place = _place((await self._read(None, 1)).next) if after is None else after
        yield None, place
        looked = told = time()
        while True:
            moved = self._moved
            events, reached = await self._after(place)
            for event, at in events:
                if wanted.covers(org=event.org, event_type=event.type, severity=event.severity):
                    yield event, at
                    told = time()
                if time() - looked >= LOOK_SECONDS:
                    await look()
                    looked = time()
            place = reached
            if events:
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, looked + LOOK_SECONDS - time())):
                    await moved.wait()
            if time() - looked >= LOOK_SECONDS:
                await look()
                looked = time()
            if time() - told >= HEARTBEAT_SECONDS:
                yield None, place
                told = time()

    async def _after(self, place: Place) -> tuple[Sequence[tuple[event_pb2.Event, Place]], Place]:
        """Returns the next events, and where they end."""
        if self._reach is None or place < self._reach[0]:
            cursor = events_pb2.EventCursor(transaction_id=place[0], event_number=place[1])
            page = await self._read(cursor, PAGE_SIZE)
            return [(each.event, _place(each.cursor)) for each in page.events], _place(page.next)
        news = []
        for each in reversed(self._kept):
            if each[1] <= place:
                break
            news.append(each)
        return news[::-1], max(place, self._reach[1])

    async def _step(self) -> None:
        """Reads on once, or stops to read if nobody watches."""
        if not self._count:
            self._wanted.clear()
            self._kept.clear()
            self._reach = None
            return
        cursor = None
        if self._reach is not None:
            transaction_id, event_number = self._reach[1]
            cursor = events_pb2.EventCursor(
                transaction_id=transaction_id, event_number=event_number
            )
        page = await self._read(cursor, PAGE_SIZE)
        self._take(page)
        if len(page.events) < PAGE_SIZE:
            await asyncio.sleep(POLL_SECONDS)

    def _take(self, page: events_pb2.ListEventFeedResponse) -> None:
        end = _place(page.next)
        start = end if self._reach is None else self._reach[0]
        self._kept.extend((each.event, _place(each.cursor)) for each in page.events)
        while len(self._kept) > KEPT_COUNT_MAX:
            start = self._kept.popleft()[1]
        self._reach = (start, end)
        if page.events:
            moved, self._moved = self._moved, asyncio.Event()
            moved.set()


def _place(cursor: events_pb2.EventCursor) -> Place:
    return cursor.transaction_id, cursor.event_number
