"""Cancellation at the first, second, … n-th await of a call, and at each pair of them.

A scenario is driven again and again; each time its task is cancelled at another await, until it
has none left. Whatever was cancelled: nothing is held, and what reached the provider is charged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import grpc
import pytest

import headgate
from headgate.api.gateway.v1 import gateway_pb2
from headgate.testing import OUTPUT_NANOS, Failure, FakeGateway

AWAIT_COUNT_MAX = 60
GONE = Failure(
    code=grpc.StatusCode.UNAVAILABLE,
    reason="PEER_UNAVAILABLE",
    retry_delay=timedelta(milliseconds=1),
)
GONE_AFTER = Failure(code=grpc.StatusCode.UNAVAILABLE, reason="PEER_UNAVAILABLE", after=True)


@dataclass(slots=True)
class Provider:
    """Remembers what it was sent; what that used is known an await later."""

    sent: list[str] = field(default_factory=list)
    failing: bool = False

    async def ask(self, call: headgate.Call) -> str:
        await asyncio.sleep(0)
        self.sent.append(call.call_id)
        await asyncio.sleep(0)
        call.report(output_tokens=3)
        await asyncio.sleep(0)
        if self.failing:
            self.failing = False
            raise ConnectionError
        return "answer"


Scenario = Callable[[FakeGateway, headgate.Client, Provider], Awaitable[object]]


async def block(fake: FakeGateway, client: headgate.Client, provider: Provider) -> object:
    async with client.call("summarize", max_output_tokens=9) as call:
        return await provider.ask(call)


async def failover(fake: FakeGateway, client: headgate.Client, provider: Provider) -> object:
    provider.failing = True
    return await client.run("summarize", provider.ask, max_output_tokens=9)


async def repeats(fake: FakeGateway, client: headgate.Client, provider: Provider) -> object:
    fake.faults.plant("admit", GONE, GONE_AFTER)
    fake.faults.plant("complete", GONE, GONE_AFTER)
    return await block(fake, client, provider)


async def release(fake: FakeGateway, client: headgate.Client, provider: Provider) -> object:
    fake.faults.plant("release", GONE)
    async with client.call("summarize", max_output_tokens=9) as call:
        await asyncio.sleep(0)
        call.release()
    return None


async def stream(fake: FakeGateway, client: headgate.Client, provider: Provider) -> object:
    async def tokens(call: headgate.Call) -> Any:
        await asyncio.sleep(0)
        provider.sent.append(call.call_id)
        for count in range(1, 4):
            call.report(output_tokens=count)
            yield count
            await asyncio.sleep(0)

    items = client.call("summarize", max_output_tokens=9).stream(tokens)
    try:
        return [item async for item in items]
    finally:
        await items.aclose()


async def wait_for_room(fake: FakeGateway, client: headgate.Client, provider: Provider) -> object:
    fake.ledger.cap_nanos = 0
    fake.ledger.retry_seconds = 0
    call = client.call("summarize", max_output_tokens=9, wait_seconds=0.3)
    try:
        return await call.run(provider.ask)
    except headgate.Denied:
        return None


async def unreachable(fake: FakeGateway, client: headgate.Client, provider: Provider) -> object:
    fake.faults.plant("admit", *[GONE_AFTER] * 50)
    call = client.call("summarize", max_output_tokens=9, timeout_seconds=0.1)
    try:
        return await call.run(provider.ask)
    except headgate.Denied:
        return None


class CancelledAt:
    """Drives a coroutine and cancels its own task each time it comes to one of these awaits."""

    def __init__(self, work: Coroutine[Any, Any, object], *numbers: int) -> None:
        self._work = work
        self._numbers = numbers
        self.count = 0

    def __await__(self) -> Generator[Any, Any, object]:
        task = asyncio.current_task()
        assert task is not None
        steps = self._work.__await__()
        result: Any = None
        error: BaseException | None = None
        while True:
            try:
                awaited = steps.send(result) if error is None else steps.throw(error)
            except StopIteration as stop:
                return stop.value
            if self.count in self._numbers:
                task.cancel()
            self.count += 1
            result, error = None, None
            try:
                result = yield awaited
            except BaseException as raised:  # noqa: BLE001 - handed on
                error = raised


async def drive(scenario: Scenario, reports: headgate.options.Reports, *numbers: int) -> bool:
    """Runs the scenario with cancellations; tells whether it came to the last one of them."""
    fake, provider = FakeGateway(), Provider()
    client = fake.client(reports=reports)
    driven = CancelledAt(_call(scenario, fake, client, provider), *numbers)

    async def main() -> None:
        await driven

    task = asyncio.create_task(main())
    await asyncio.wait({task}, timeout=30)
    assert task.done()
    # A cancellation is never swallowed.
    assert task.cancelled() == (driven.count > min(numbers)), f"{numbers}: {task}"
    await client.close()
    _check(fake, provider, numbers)
    return driven.count > max(numbers)


async def _call(
    scenario: Scenario, fake: FakeGateway, client: headgate.Client, provider: Provider
) -> object:
    return await scenario(fake, client, provider)


def _check(fake: FakeGateway, provider: Provider, numbers: tuple[int, ...]) -> None:
    assert fake.ledger.held_nanos("acme") == 0, numbers
    for call_id in provider.sent:
        entry = fake.ledger.entry(call_id)
        assert entry.state == gateway_pb2.FINISHED_STATE_SETTLED, numbers
        assert entry.settled_nanos > 0, numbers
    unsent = {entry.call_id for entry in fake.ledger.entries.values()} - {*provider.sent}
    for call_id in unsent:
        # It was cancelled before it left, in the block: nobody knows, so the hold is charged.
        entry = fake.ledger.entry(call_id)
        assert entry.settled_nanos in (0, 9 * OUTPUT_NANOS), numbers


@pytest.mark.parametrize("reports", ["wait", "background"])
@pytest.mark.parametrize(
    "scenario",
    [block, failover, repeats, release, stream, wait_for_room, unreachable],
    ids=lambda each: each.__name__,
)
async def test_a_cancellation_at_any_await_leaves_no_hold_and_loses_no_cost(
    scenario: Scenario, reports: headgate.options.Reports
) -> None:
    count = 0
    while await drive(scenario, reports, count):
        count += 1
        assert count < AWAIT_COUNT_MAX

    # As many as an undisturbed run has: in the background only the admission and the body wait.
    assert count >= 2


@pytest.mark.parametrize("scenario", [block, failover, stream], ids=lambda each: each.__name__)
async def test_a_second_cancellation_does_no_more_harm(scenario: Scenario) -> None:
    for first in range(AWAIT_COUNT_MAX):
        if not await drive(scenario, "wait", first):
            return
        # Awaits after the first cancellation: those of the way out.
        for second in range(first + 1, first + 4):
            await drive(scenario, "wait", first, second)
