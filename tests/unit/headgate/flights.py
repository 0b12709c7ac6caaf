"""What a batcher sends through, and who sends."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from headgate.batching import Batcher

Answer = int | Exception


class Wire:
    """Sends a batch when the test says so; the answer is twice the item."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self._gates: list[asyncio.Future[None]] = []
        self._left = asyncio.Condition()

    async def send(self, items: Sequence[int]) -> Sequence[Answer]:
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.batches.append(list(items))
        self._gates.append(gate)
        async with self._left:
            self._left.notify_all()
        await gate
        return [item * 2 for item in items]

    async def until_sent(self, count: int) -> None:
        async with asyncio.timeout(5), self._left:
            await self._left.wait_for(lambda: len(self.batches) >= count)

    def answer(self, at: int) -> None:
        self._gates[at].set_result(None)

    def fail(self, at: int, error: BaseException) -> None:
        self._gates[at].set_exception(error)


def submit(batcher: Batcher[int, int], *items: int) -> list[asyncio.Task[int]]:
    return [asyncio.create_task(batcher.submit(item)) for item in items]


async def echo(items: Sequence[int]) -> Sequence[Answer]:
    return list(items)
