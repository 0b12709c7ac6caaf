"""Self-clocked micro-batching: the same small class at each hop.

While one batch is in flight the next one gathers; when a flight returns, what has gathered leaves
at once. No timer is involved: an idle batcher adds no delay, a busy one grows its batches.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

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
    item: T
    answer: asyncio.Future[R]
    # Loop time after which nobody waits for the answer. None: somebody always does.
    deadline: float | None


class Batcher(Generic[T, R]):
    """Sends members in batches, at most `flight_count_max` batches at a time, in arrival order.

    `send` gets the members' items and returns one result for each, in order; a result that is an
    exception is raised to that member only. An exception raised by `send` goes to all of them.
    After a flight the loop turns `turn_count` times before the next one leaves: what has arrived
    by then, and what the answers set off, goes with it. That takes no time when nothing is ready.
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
    ) -> None:
        self._send = send
        self._flight_count_max = flight_count_max
        self._size_max = size_max
        self._waiting_count_max = waiting_count_max
        self._waiting: deque[_Member[T, R]] = deque()
        self._flights: set[asyncio.Task[None]] = set()
        self._turn_count = turn_count
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
        return self._enqueue(item, deadline)

    async def submit_all(
        self, items: Sequence[T], *, deadline: float | None = None
    ) -> list[R | BaseException]:
        """Returns each item's own result or exception, in order.

        Raises BatcherFullError or BatcherClosedError before any of them was taken.
        """
        self._check_room(len(items))
        answers = [self._enqueue(item, deadline) for item in items]
        return await asyncio.gather(*answers, return_exceptions=True)

    async def close(self) -> None:
        """Refuses new members and returns when all earlier ones have their answers."""
        self._closed = True
        while self._flights:
            await asyncio.wait(self._flights)

    def _check_room(self, count: int) -> None:
        if self._closed:
            raise BatcherClosedError
        if len(self._waiting) + count > self._waiting_count_max:
            raise BatcherFullError

    def _enqueue(self, item: T, deadline: float | None) -> asyncio.Future[R]:
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Member(item, answer, deadline))
        if len(self._flights) < self._flight_count_max:
            flight = asyncio.create_task(self._fly())
            self._flights.add(flight)
            flight.add_done_callback(self._flights.discard)
        return answer

    async def _fly(self) -> None:
        try:
            await self._send_waiting()
        finally:
            # At once, not when the task is reaped: who submits in between must start a flight.
            self._flights.discard(asyncio.current_task())

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

    def _take_batch(self) -> list[_Member[T, R]]:
        batch: list[_Member[T, R]] = []
        now = asyncio.get_running_loop().time()
        while self._waiting and len(batch) < self._size_max:
            member = self._waiting.popleft()
            if member.answer.done():
                continue
            if member.deadline is not None and member.deadline <= now:
                member.answer.set_exception(TimeoutError())
                continue
            batch.append(member)
        return batch


def _answer_each(batch: Sequence[_Member[T, R]], results: Sequence[R | Exception]) -> None:
    if len(results) != len(batch):
        raise ValueError(f"{len(results)} results for {len(batch)} members")
    for member, result in zip(batch, results, strict=True):
        if member.answer.done():
            continue
        if isinstance(result, Exception):
            member.answer.set_exception(result)
        else:
            member.answer.set_result(result)


def _answer_all(batch: Sequence[_Member[T, R]], error: BaseException) -> None:
    for member in batch:
        if not member.answer.done():
            if isinstance(error, asyncio.CancelledError):
                member.answer.cancel()
            else:
                member.answer.set_exception(error)
