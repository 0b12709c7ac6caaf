"""A gateway is asked to end under the SDK's load, again and again: no call fails, none is lost."""

from __future__ import annotations

import os
import signal

import pytest

from tests.e2e.callers import calling
from tests.e2e.system import System, wait_until_serving
from tests.e2e.test_restarts import assert_books_agree, assert_nothing_went_wrong, booked

ORG = "demo-initech"
CALLERS = 24
CALLS_BETWEEN = 60


async def make_room(system: System) -> None:
    """More calls than a fresh install lets an org make in a day."""
    for name, words in (("rolling-org", ("--org", ORG)), ("default-platform-calls-day", ())):
        await system.operate(
            *("limits", "set", name, "--metric", "calls", "--per", "day", "--cap", "1000000000"),
            *words,
        )


async def end_gently(system: System, number: int) -> None:
    """Sends SIGTERM to one of both gateways and waits until its successor serves."""
    index = number % 2
    name = f"gateway-{index}"
    pid = system.pids()[name]
    os.kill(pid, signal.SIGTERM)
    await system.wait_for_successor(name, pid)
    await wait_until_serving(system.endpoints["gateways"][index])


@pytest.mark.asyncio(loop_scope="package")
@pytest.mark.parametrize(
    "run_count", [2, pytest.param(20, marks=pytest.mark.slow)], ids=["twice", "20 times"]
)
async def test_a_gateway_that_ends_under_load_fails_no_call_and_loses_none(
    system: System, run_count: int
) -> None:
    await make_room(system)
    before, _ = await booked(system, ORG)
    count = 0
    for number in range(run_count):
        async with system.client(ORG) as client, calling(client, callers=CALLERS) as record:
            await record.wait_for_receipts(CALLS_BETWEEN)
            await end_gently(system, number)
            await record.wait_for_receipts(CALLS_BETWEEN)
        assert_nothing_went_wrong(record)
        assert client.incidents == {}
        count += len(record.receipts)

    after, _ = await booked(system, ORG)
    assert after - before == count
    await assert_books_agree(system, ORG)
