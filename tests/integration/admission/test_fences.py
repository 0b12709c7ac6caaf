"""When a fence has been set, nothing is admitted: no batch in flight, no replay, no replica."""

from __future__ import annotations

import asyncio

import pytest

from chassis.database import Connection
from services.admission.domain.calls import DenialReason, Denied, Ended, Held, Settle, State
from services.admission.domain.fences import Fence
from services.admission.engine import Engine
from services.admission.policy import Policy
from tests.integration.admission.replicas import Start, assert_books, make_reserve
from tests.integration.admission.stepping import pause_before_commit


def make_fence(sequence: int, *, active: bool = True) -> Fence:
    return Fence(fence_id="platform", sequence=sequence, active=active, message="Stop.")


async def set_fence(engine: Engine, fence: Fence) -> Fence:
    return await Policy(engine.pool).set_fence(fence, actor="ops")


async def test_a_fence_stops_every_replica_and_replays(start: Start) -> None:
    one, two = await start("one"), await start("two")
    held = make_reserve(5)
    await two.reservations.submit(held)
    await set_fence(one, make_fence(1))
    for call in (held, make_reserve(0)):
        outcome = await two.reservations.submit(call)
        assert isinstance(outcome, Denied)
        assert outcome.reason is DenialReason.FENCED
    assert await two.reservations.submit(Settle(held.key, 1, 4)) == Ended(State.SETTLED, 4)
    await set_fence(one, make_fence(2, active=False))
    assert isinstance(await two.reservations.submit(make_reserve(0)), Held)
    await assert_books(one)


async def test_the_highest_sequence_wins(engine: Engine) -> None:
    await set_fence(engine, make_fence(5))
    assert await set_fence(engine, make_fence(4, active=False)) == make_fence(5)
    assert await set_fence(engine, make_fence(5, active=False)) == make_fence(5)
    lifted = make_fence(6, active=False)
    assert await set_fence(engine, lifted) == lifted


async def test_a_stuck_batch_does_not_hold_a_fence_up(start: Start, admin: Connection) -> None:
    one, two = await start("one"), await start("two")
    decided, go_on = await pause_before_commit(one)
    call = make_reserve(10)
    stuck = asyncio.create_task(one.reservations.submit(call))
    await decided.wait()
    async with asyncio.timeout(1):
        await set_fence(two, make_fence(1))
    assert await admin.fetchval("SELECT count(*) FROM reservation WHERE org = 'acme'") == 0
    # Its session is gone: what it decided can't be committed any more, and the retry is denied.
    go_on.set()
    outcome = await stuck
    assert isinstance(outcome, Denied)
    assert outcome.reason is DenialReason.FENCED
    await assert_books(two)


async def test_nothing_is_admitted_after_the_answer(start: Start, admin: Connection) -> None:
    engines = [await start(f"replica-{number}") for number in range(3)]
    stop = asyncio.Event()

    async def admit(engine: Engine) -> None:
        while not stop.is_set():
            await engine.reservations.submit(make_reserve(1))

    flood = [asyncio.create_task(admit(engines[number % 3])) for number in range(12)]
    try:
        for sequence in range(1, 20, 2):
            await asyncio.sleep(0.01)
            await set_fence(engines[0], make_fence(sequence))
            answered = await admin.fetchval("SELECT clock_timestamp()")
            await asyncio.gather(*(each.reservations.submit(make_reserve(1)) for each in engines))
            later = "SELECT count(*) FROM reservation WHERE admit_time > $1"
            assert await admin.fetchval(later, answered) == 0
            await set_fence(engines[0], make_fence(sequence + 1, active=False))
    finally:
        stop.set()
        await asyncio.gather(*flood)
    await assert_books(engines[0])


@pytest.mark.parametrize("active", [True, False])
async def test_each_change_is_logged(engine: Engine, admin: Connection, *, active: bool) -> None:
    await set_fence(engine, make_fence(1, active=active))
    row = await admin.fetchrow(
        "SELECT target, after::jsonb ->> 'active' AS active FROM change_log"
    )
    assert row is not None
    assert dict(row) == {"target": "fence/platform", "active": str(active).lower()}
