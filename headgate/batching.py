"""Self-clocked micro-batching: the same small class at each hop.

While one batch is in flight the next one gathers; when a flight returns, what has gathered leaves
at once. No timer is involved: an idle batcher adds no delay, a busy one grows its batches. Only
where nobody waits for the answers may the first of a batch linger for others.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeAlias, TypeVar

T = TypeVar("T")
R = TypeVar("R")

# A batch larger than this holds row locks for longer than it saves round trips.
BATCH_SIZE_MAX: Final = 256
# Beyond this many waiting members the queue would outlive every deadline.
WAITING_COUNT_MAX: Final = 16_384


class BatcherClosedError(Exception):
    """The batcher takes no more members."""


class BatcherFullError(Exception):
    """Too many members wait already."""


@dataclass(slots=True)
class _Member(Generic[T, R]):
    """An item with a caller of its own."""

    item: T
    # Done before the result is there: nobody waits for it any more.
    answer: asyncio.Future[R]
    # Loop time after which nobody waits for the answer. None: somebody always does.
    deadline: float | None

    def take(self, result: R | BaseException) -> None:
        if self.answer.done():
            return
        if isinstance(result, asyncio.CancelledError):
            self.answer.cancel()
        elif isinstance(result, BaseException):
            self.answer.set_exception(result)
        else:
            self.answer.set_result(result)


class _Group(Generic[R]):
    """Members with one caller. It waits once: waiting for each would cost more than the answer."""

    def __init__(self, size: int) -> None:
        self.answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.results: dict[int, R | BaseException] = {}
        self._size = size

    def take(self, position: int, result: R | BaseException) -> None:
        self.results[position] = result
        if len(self.results) == self._size and not self.answer.done():
            self.answer.set_result(None)


@dataclass(slots=True)
class _GroupMember(Generic[T, R]):
    """An item of many that came together."""

    item: T
    answer: asyncio.Future[None]
    deadline: float | None
    group: _Group[R]
    position: int

    def take(self, result: R | BaseException) -> None:
        self.group.take(self.position, result)


_Waiting: TypeAlias = _Member[T, R] | _GroupMember[T, R]


class Batcher(Generic[T, R]):
    """Sends members in batches, at most `flight_count_max` batches at a time, in arrival order.

    `send` gets the members' items and returns one result for each, in order; a result that is an
    exception is raised to that member only. An exception raised by `send` goes to all of them.
    After a flight the loop turns `turn_count` times before the next one leaves: what has arrived
    by then, and what the answers set off, goes with it. That takes no time when nothing is ready.
    With `linger_seconds` a flight that finds nobody under way waits so long for company, at most
    until its batch is full or `close` is called.
    A member that is cancelled, or whose deadline passes before its batch leaves, is dropped; one
    that is cancelled later leaves its batch alone.
    """

    def __init__(
        self,
        send: Callable[[Sequence[T]], Awaitable[Sequence[R | Exception]]],
        *,
        flight_count_max: int = 1,
        size_max: int = BATCH_SIZE_MAX,
        waiting_count_max: int = WAITING_COUNT_MAX,
        turn_count: int = 0,
        linger_seconds: float = 0.0,
    ) -> None:
        self._send = send
        self._flight_count_max = flight_count_max
        self._size_max = size_max
        self._waiting_count_max = waiting_count_max
        self._waiting: deque[_Waiting[T, R]] = deque()
        self._flights: set[asyncio.Task[None]] = set()
        self._turn_count = turn_count
        self._linger_seconds = linger_seconds
        # Ends the lingering of the flight that lingers. None: none does.
        self._departure: asyncio.Future[None] | None = None
        self._closed = False

    async def submit(self, item: T, *, deadline: float | None = None) -> R:
        """Returns the item's own result.

        Raises BatcherFullError or BatcherClosedError before anything was sent, TimeoutError if the
        deadline (loop time) passed before the item's batch left.
        """
        return await self.put(item, deadline=deadline)

    def put(self, item: T, *, deadline: float | None = None) -> asyncio.Future[R]:
        """Takes an item and returns where its result will be; see `submit`."""
        self._check_room(1)
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Member(item, answer, deadline))
        self._start_flight()
        return answer

    async def submit_all(
        self, items: Sequence[T], *, deadline: float | None = None
    ) -> list[R | BaseException]:
        """Returns each item's own result or exception, in order.

        Raises BatcherFullError or BatcherClosedError before any of them was taken.
        """
        self._check_room(len(items))
        if not items:
            return []
        group = _Group[R](len(items))
        for position, item in enumerate(items):
            self._waiting.append(_GroupMember(item, group.answer, deadline, group, position))
            self._start_flight()
        await group.answer
        return [group.results[position] for position in range(len(items))]

    async def close(self) -> None:
        """Refuses new members and returns when all earlier ones have their answers."""
        self._closed = True
        self._depart()
        while self._flights:
            await asyncio.wait(self._flights)

    def _check_room(self, count: int) -> None:
        if self._closed:
            raise BatcherClosedError
        if len(self._waiting) + count > self._waiting_count_max:
            raise BatcherFullError

    def _start_flight(self) -> None:
        if self._departure is not None:
            if len(self._waiting) >= self._size_max:
                self._depart()
        elif len(self._flights) < self._flight_count_max:
            if self._linger_seconds and not self._closed:
                self._departure = asyncio.get_running_loop().create_future()
            flight = asyncio.create_task(self._fly())
            self._flights.add(flight)
            flight.add_done_callback(self._flights.discard)

    async def _fly(self) -> None:
        try:
            if self._departure is not None:
                await self._linger(self._departure)
            await self._send_waiting()
        finally:
            # At once, not when the task is reaped: who submits in between must start a flight.
            self._flights.discard(asyncio.current_task())

    async def _linger(self, departure: asyncio.Future[None]) -> None:
        try:
            await asyncio.wait({departure}, timeout=self._linger_seconds)
        finally:
            self._departure = None

    def _depart(self) -> None:
        if self._departure is not None and not self._departure.done():
            self._departure.set_result(None)

    async def _send_waiting(self) -> None:
        while batch := self._take_batch():
            try:
                results = await self._send([member.item for member in batch])
                _answer_each(batch, results)
            except asyncio.CancelledError:
                _answer_all(batch, asyncio.CancelledError())
                raise
            except Exception as error:  # noqa: BLE001 - each member raises it to its own caller
                _answer_all(batch, error)
            for _ in range(self._turn_count):
                await asyncio.sleep(0)
            if self._departure is not None:
                # What came meanwhile has a flight that lingers for it.
                return

    def _take_batch(self) -> list[_Waiting[T, R]]:
        batch: list[_Waiting[T, R]] = []
        now = asyncio.get_running_loop().time()
        while self._waiting and len(batch) < self._size_max:
            member = self._waiting.popleft()
            if member.answer.done():
                continue
            if member.deadline is not None and member.deadline <= now:
                member.take(TimeoutError())
                continue
            batch.append(member)
        return batch


def _answer_each(batch: Sequence[_Waiting[T, R]], results: Sequence[R | Exception]) -> None:
    if len(results) != len(batch):
        raise ValueError(f"{len(results)} results for {len(batch)} members")
    for member, result in zip(batch, results, strict=True):
        member.take(result)


def _answer_all(batch: Sequence[_Waiting[T, R]], error: BaseException) -> None:
    for member in batch:
        member.take(error)
