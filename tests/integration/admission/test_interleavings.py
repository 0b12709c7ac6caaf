"""Two writers stepped by hand through every order of two operations on one call."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable

import pytest

from chassis.database import Connection
from services.admission.domain.calls import (
    Ended,
    Expire,
    Held,
    NotExpired,
    Operation,
    Outcome,
    Release,
    Reserve,
    Settle,
    State,
)
from services.admission.engine import Engine
from tests.integration.admission.replicas import Start, assert_books, make_reserve
from tests.integration.admission.stepping import pause_before_commit, wait_until_blocked

Make = Callable[[Reserve], Operation]

ENDS: dict[str, Make] = {
    "settle": lambda call: Settle(call.key, 1, 25),
    "release": lambda call: Release(call.key),
    "expire": lambda call: Expire(call.key),
}
# What each end leaves when it comes first.
STATES = {"settle": State.SETTLED, "release": State.RELEASED, "expire": State.EXPIRED}


async def run_in_order(
    first: tuple[Engine, Operation], second: tuple[Engine, Operation], admin: Connection
) -> tuple[Outcome, Outcome]:
    """Lets the second operation start while the first is decided and not committed."""
    decided, go_on = await pause_before_commit(first[0])
    leading = asyncio.create_task(first[0].reservations.submit(first[1]))
    await decided.wait()
    following = asyncio.create_task(second[0].reservations.submit(second[1]))
    await wait_until_blocked(admin, following)
    assert not following.done(), "it did not wait for the first"
    go_on.set()
    return await leading, await following


@pytest.mark.parametrize("second", ENDS)
@pytest.mark.parametrize("first", ENDS)
async def test_a_call_ends_once(start: Start, admin: Connection, first: str, second: str) -> None:
    one, two = await start("one"), await start("two")
    await two.reservations.submit(make_reserve(1, org="warm-up"))
    call = make_reserve(40, hold=dt.timedelta(0))
    await one.reservations.submit(call)
    ends = await run_in_order((one, ENDS[first](call)), (two, ENDS[second](call)), admin)
    state = STATES[first]
    assert isinstance(ends[0], Ended)
    assert ends[0].state is state
    if second == "expire":
        assert isinstance(ends[1], NotExpired)
    elif second == "settle" and first != "settle":
        assert ends[1] == Ended(State.LATE, 25)
    else:
        assert ends[1] == ends[0]
    count = "SELECT count(*) FROM ended_reservation WHERE call_id = $1"
    assert await admin.fetchval(count, call.key.call_id) == 1
    await assert_books(one)


async def test_retries_of_one_admission_meet(start: Start, admin: Connection) -> None:
    one, two = await start("one"), await start("two")
    await two.reservations.submit(make_reserve(1, org="warm-up"))
    call = make_reserve(40)
    first, second = await run_in_order((one, call), (two, call), admin)
    assert isinstance(first, Held)
    assert isinstance(second, Held)
    assert (first.replayed, second.replayed) == (False, True)
    await assert_books(one)


async def test_a_late_admission_finds_its_release(start: Start, admin: Connection) -> None:
    one, two = await start("one"), await start("two")
    await two.reservations.submit(make_reserve(1, org="warm-up"))
    call = make_reserve(40)
    released, outcome = await run_in_order((one, Release(call.key)), (two, call), admin)
    assert released == outcome == Ended(State.RELEASED, 0)
    await assert_books(one)


async def test_calls_of_one_org_queue_and_never_deadlock(start: Start) -> None:
    engines = [await start(f"replica-{number}") for number in range(4)]
    calls = [make_reserve(1, org=f"org-{number % 5}") for number in range(200)]
    reserved = await asyncio.gather(
        *(
            engines[number % 4].reservations.submit(call)
            for number, call in enumerate(calls + calls[::-1])
        )
    )
    assert all(isinstance(each, Held) for each in reserved)
    ended = await asyncio.gather(
        *(
            engines[number % 4].reservations.submit(Settle(call.key, 1, 1))
            for number, call in enumerate(calls[::-1] + calls)
        )
    )
    assert all(each == Ended(State.SETTLED, 1) for each in ended)
    await assert_books(engines[0])
