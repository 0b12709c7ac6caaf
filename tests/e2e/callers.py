"""Backends that call without pause, and know what became of every call."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import headgate

OPERATION = "summarize"
DENIED_PAUSE_SECONDS = 0.05


@dataclass(slots=True)
class Record:
    """What callers have seen."""

    receipts: list[headgate.Receipt] = field(default_factory=list)
    denials: list[headgate.Denial] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def note(self, call: headgate.Call) -> None:
        """Notes how a call ended."""
        if call.denial is not None:
            self.denials.append(call.denial)
        elif call.receipt is not None:
            self.receipts.append(call.receipt)
        else:
            self.errors.append(call.completion_error or AssertionError("no receipt, no error"))
        async with self._changed:
            self._changed.notify_all()

    async def wait_for_receipts(self, count: int) -> None:
        """Returns when so many more calls have been booked than now."""
        goal = len(self.receipts) + count
        async with self._changed, asyncio.timeout(60):
            await self._changed.wait_for(
                lambda: len(self.receipts) >= goal or bool(self.errors or self.denials)
            )


@contextlib.asynccontextmanager
async def calling(client: headgate.Client, *, callers: int) -> AsyncIterator[Record]:
    """Lets callers call until the end of the block, then lets each finish the call it is at."""
    record, stop = Record(), asyncio.Event()

    async def call_on() -> None:
        while not stop.is_set():
            try:
                call = await make_call(client)
                await record.note(call)
                if call.denial is not None:
                    # Whoever is denied need not ask again at once.
                    await asyncio.sleep(DENIED_PAUSE_SECONDS)
            except headgate.HeadgateError as error:
                record.errors.append(error)

    async with asyncio.TaskGroup() as group:
        for _ in range(callers):
            group.create_task(call_on())
        try:
            yield record
        finally:
            stop.set()


async def make_call(client: headgate.Client) -> headgate.Call:
    """Makes one call that uses 100 tokens in and 10 out; a denial is no error."""
    call = client.call(OPERATION, input_tokens=100, max_output_tokens=50, on_denied="return")
    async with call:
        if call.admitted:
            call.report(input_tokens=100, output_tokens=10)
            # Somewhere else another call goes on.
            await asyncio.sleep(0)
    return call
