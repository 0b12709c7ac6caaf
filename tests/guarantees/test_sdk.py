"""Backends, gateways and the network between them end at every step of a call of the SDK.

Whatever ended: no hold outlives its time, and nothing spent is missing from the books.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

import asyncpg
import pytest

import headgate
from tests.e2e import system as systems
from tests.guarantees.backends import MUTE, run_until, wait_for_hold, wait_for_log
from tests.guarantees.callers import (
    HELD_NANOS,
    HOLD_SECONDS,
    INPUT_TOKENS,
    OPERATION,
    OUTPUT_TOKENS,
    USED_NANOS,
    Callers,
    books,
    find_differences,
)
from tests.guarantees.nemesis.proxy import BOTH_WAYS, NONE, Proxy, Trouble

# Expiry, the next sweep, and a machine that does other things meanwhile.
HEAL_SECONDS: Final = HOLD_SECONDS + 60
# How much further each cut of the network lets the conversation come.
CUT_STEP_BYTES: Final = 61
# Two calls' worth of bytes, health checks and all.
CONVERSATION_BYTES: Final = 4_000
CUT_OFF: Final = Trouble(blocked=BOTH_WAYS)

pytestmark = pytest.mark.asyncio(loop_scope="package")


@dataclass(slots=True)
class Ends:
    """What became of each call id: settled nanos by admission, total by accounting."""

    settled: dict[str, int] = field(default_factory=dict)
    logged: dict[str, int] = field(default_factory=dict)


async def read_ends(connection: asyncpg.Connection[asyncpg.Record], org: str) -> Ends:
    """Waits until the org holds nothing any more, the counters being right all the while."""
    async with asyncio.timeout(HEAL_SECONDS):
        while await connection.fetchval("SELECT count(*) FROM reservation WHERE org = $1", org):
            assert await find_differences(connection) == []
            await asyncio.sleep(0.1)
    assert await find_differences(connection) == []
    ended = "SELECT call_id, settled_nanos FROM ended_reservation WHERE org = $1"
    log = "SELECT call_id, total_nanos FROM accounting.usage_log WHERE org = $1"
    return Ends(
        {str(row[0]): int(row[1]) for row in await connection.fetch(ended, org)},
        {str(row[0]): int(row[1]) for row in await connection.fetch(log, org)},
    )


@contextlib.asynccontextmanager
async def proxied(callers: Callers) -> AsyncIterator[Proxy]:
    """A link of the test's own to one gateway."""
    async with Proxy("sdk", target=callers.system.endpoints["gateways"][1]) as proxy:
        yield proxy


async def test_a_backend_is_killed_at_every_step(callers: Callers) -> None:
    expected = {
        "asking": HELD_NANOS,
        "admitted": HELD_NANOS,
        "sent": HELD_NANOS,
        "answered": HELD_NANOS,
        "reporting": USED_NANOS,
        "left": USED_NANOS,
    }
    ids = {}
    async with proxied(callers) as proxy:
        for step in expected:
            ids[step] = await run_until(proxy, callers, step)

    async with books(callers.system) as connection:
        ends = await read_ends(connection, callers.org)
    # What nobody reports is charged at the hold: the money is probably spent.
    assert {step: ends.settled[call_id] for step, call_id in ids.items()} == expected
    assert {*ends.logged.values()} == {USED_NANOS}
    assert {*ends.logged} == {ids["reporting"], ids["left"]}


@dataclass(slots=True)
class Outcome:
    """What a caller saw of one call."""

    call: headgate.Call
    spent: bool = False
    error: BaseException | None = None


async def make_call(client: headgate.Client) -> Outcome:
    call = client.call(OPERATION, input_tokens=INPUT_TOKENS, max_output_tokens=OUTPUT_TOKENS)
    outcome = Outcome(call)
    try:
        async with call:
            outcome.spent = True
            call.report(input_tokens=INPUT_TOKENS, output_tokens=10)
    except headgate.HeadgateError as error:
        outcome.error = error
    return outcome


async def call_over(callers: Callers, byte_count: int, *, mended: bool) -> Outcome:
    """One call over a link of its own that is cut after so many bytes, for a while or for good."""
    async with proxied(callers) as proxy:
        proxy.impair(Trouble(byte_count_max=byte_count))
        seconds = 30.0 if mended else 4.0
        client = headgate.Client(
            proxy.address,
            api_key=callers.api_key,
            admission_timeout_seconds=seconds,
            report_timeout_seconds=seconds,
        )
        calling = asyncio.create_task(make_call(client))
        if mended:
            while proxy.byte_count < byte_count and not calling.done():  # noqa: ASYNC110 - bytes
                await asyncio.sleep(0.01)
            proxy.impair(NONE)
        outcome = await calling
        await client.close()
    return outcome


async def call_over_all(callers: Callers, *, mended: bool) -> list[Outcome]:
    """One call for each place where the conversation may be cut, a few at a time."""
    places = asyncio.Semaphore(24)

    async def call(byte_count: int) -> Outcome:
        async with places:
            return await call_over(callers, byte_count, mended=mended)

    # The last one is not cut.
    counts = [*range(0, CONVERSATION_BYTES, CUT_STEP_BYTES), 100 * CONVERSATION_BYTES]
    return await asyncio.gather(*(call(count) for count in counts))


async def test_a_network_that_is_cut_anywhere_and_mended_is_not_noticed(callers: Callers) -> None:
    outcomes = await call_over_all(callers, mended=True)

    assert [each.error or each.call.completion_error for each in outcomes if each.error] == []
    assert all(each.call.receipt is not None for each in outcomes)
    async with books(callers.system) as connection:
        ends = await read_ends(connection, callers.org)
    used = {each.call.call_id: USED_NANOS for each in outcomes}
    assert (ends.settled, ends.logged) == (used, used)


async def test_a_network_that_is_cut_anywhere_for_good_hides_no_cost(callers: Callers) -> None:
    outcomes = await call_over_all(callers, mended=False)

    async with books(callers.system) as connection:
        ends = await read_ends(connection, callers.org)
    for each in outcomes:
        call_id = each.call.call_id
        if each.call.receipt is not None:
            assert ends.settled[call_id] == ends.logged[call_id] == USED_NANOS
        elif each.spent:
            # Booked, its receipt lost; or never reported, and charged at the hold.
            booked = call_id in ends.logged
            assert ends.settled[call_id] == (USED_NANOS if booked else HELD_NANOS)
        else:
            assert isinstance(each.error, headgate.Denied)
            assert ends.settled.get(call_id, 0) in (0, HELD_NANOS)
    # The cuts came early, in between and late.
    assert any(not each.spent for each in outcomes)
    assert any(each.spent and each.call.receipt is None for each in outcomes)
    assert any(each.call.receipt is not None for each in outcomes)


@pytest.mark.parametrize("step", ["asking", "admitted", "reporting"])
async def test_a_gateway_is_killed_at_every_step_and_the_other_one_goes_on(
    callers: Callers, step: str
) -> None:
    system = callers.system
    async with (
        Proxy("doomed", target=system.endpoints["gateways"][0]) as doomed,
        Proxy("other", target=system.endpoints["gateways"][1]) as other,
        headgate.Client(
            f"ipv4:{doomed.address},{other.address}",
            api_key=callers.api_key,
            admission_timeout_seconds=30,
            report_timeout_seconds=30,
        ) as client,
    ):
        # The other gateway is not there yet, so the doomed one is asked.
        other.impair(CUT_OFF)
        call = client.call(OPERATION, input_tokens=INPUT_TOKENS, max_output_tokens=OUTPUT_TOKENS)

        async def kill() -> None:
            pid = system.pids()["gateway-0"]
            os.kill(pid, signal.SIGKILL)
            doomed.reset()
            other.heal()
            await system.wait_for_successor("gateway-0", pid)
            await systems.wait_until_serving(system.endpoints["gateways"][0])

        await client.status()
        if step == "asking":
            doomed.impair(MUTE)
        entering = asyncio.create_task(call.__aenter__())
        if step == "asking":
            await wait_for_hold(callers, call.call_id)
            await kill()
        await entering
        if step == "admitted":
            await kill()
        call.report(input_tokens=INPUT_TOKENS, output_tokens=10)
        if step == "reporting":
            doomed.impair(MUTE)
        leaving = asyncio.create_task(call.__aexit__(None, None, None))
        if step == "reporting":
            await wait_for_log(callers, call.call_id)
            await kill()
        await leaving

    assert call.completion_error is None
    assert call.receipt is not None
    async with books(system) as connection:
        ends = await read_ends(connection, callers.org)
    assert ends.settled == ends.logged == {call.call_id: USED_NANOS}
