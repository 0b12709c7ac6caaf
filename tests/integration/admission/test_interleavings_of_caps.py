"""Two replicas, and changes of limits and fences, stepped by hand around one cap."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from chassis.database import Connection
from services.admission.config import AdmissionSettings
from services.admission.domain.calls import (
    DenialReason,
    Denied,
    Ended,
    Expire,
    Extend,
    Extended,
    Held,
    NotExpired,
    Operation,
    Outcome,
    Settle,
    State,
)
from services.admission.domain.fences import Fence
from services.admission.engine import Engine, open_engine
from services.admission.policy import Policy
from services.admission.queries import QUERIES
from tests.integration.admission.clock import Clock
from tests.integration.admission.replicas import (
    Start,
    assert_books,
    make_limit,
    make_reserve,
    put_limit,
)
from tests.integration.admission.stepping import pause_before_commit, wait_until_blocked

NOON = dt.datetime(2026, 3, 28, 12, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
# Not granted: whoever asks goes on without them.
FREE_COUNTERS = "SELECT counter_id FROM counter WHERE counter_id = ANY($1) FOR UPDATE SKIP LOCKED"


@asynccontextmanager
async def policy_locked(admin: Connection) -> AsyncIterator[None]:
    """A change of limits or fences between taking its lock and its commit."""
    async with admin.transaction():
        await admin.execute(QUERIES.lock_policy.sql)
        yield
        await admin.execute(QUERIES.bump_version.sql, 0)


async def test_of_two_calls_that_fit_alone_one_is_held(start: Start, admin: Connection) -> None:
    one, two = await start("one"), await start("two")
    await put_limit(one, make_limit("acme-day", cap=100))
    await two.reservations.submit(make_reserve(1, org="warm-up"))
    decided, go_on = await pause_before_commit(one)
    first = asyncio.create_task(one.reservations.submit(make_reserve(60)))
    await decided.wait()
    second = asyncio.create_task(two.reservations.submit(make_reserve(60)))
    await wait_until_blocked(admin, second)
    go_on.set()
    held, denied = await first, await second
    assert isinstance(held, Held)
    assert isinstance(denied, Denied), "both were held: the cap is overspent"
    assert (denied.violations[0].held, denied.violations[0].excess) == (60, 20)
    await assert_books(one)


async def test_a_call_finds_the_room_that_a_settlement_leaves(
    start: Start, admin: Connection
) -> None:
    one, two = await start("one"), await start("two")
    await put_limit(one, make_limit("acme-day", cap=100))
    call = make_reserve(60)
    await two.reservations.submit(call)
    decided, go_on = await pause_before_commit(one)
    settling = asyncio.create_task(one.reservations.submit(Settle(call.key, 1, 10)))
    await decided.wait()
    starting = asyncio.create_task(two.reservations.submit(make_reserve(90)))
    await wait_until_blocked(admin, starting)
    go_on.set()
    assert await settling == Ended(State.SETTLED, 10)
    assert isinstance(await starting, Held)
    await assert_books(one)


async def test_a_lowered_cap_waits_for_the_batch_before_it(
    start: Start, admin: Connection
) -> None:
    one, two = await start("one"), await start("two")
    await put_limit(one, make_limit("acme-day", cap=100))
    decided, go_on = await pause_before_commit(one)
    first = asyncio.create_task(one.reservations.submit(make_reserve(60)))
    await decided.wait()
    change = asyncio.create_task(put_limit(two, make_limit("acme-day", cap=70)))
    await wait_until_blocked(admin, change)
    assert not change.done(), "the change came back while an older decision was in flight"
    go_on.set()
    assert isinstance(await first, Held)
    await change
    for engine in (one, two):
        denied = await engine.reservations.submit(make_reserve(20))
        assert isinstance(denied, Denied), "decided under the old cap after the change"
        assert denied.violations[0].limit.cap == 70
    await assert_books(one)


async def test_a_call_that_waited_for_a_change_is_decided_under_it(
    start: Start, admin: Connection
) -> None:
    engine = await start()
    await put_limit(engine, make_limit("acme-day", cap=100))
    await engine.reservations.submit(make_reserve(1))
    async with policy_locked(admin):
        call = asyncio.create_task(engine.reservations.submit(make_reserve(60)))
        await wait_until_blocked(admin, call)
        await admin.execute("UPDATE limit_rule SET cap = 50 WHERE limit_id = 'acme-day'")
    outcome = await call
    assert isinstance(outcome, Denied), "it read the cap before it had the lock"
    await assert_books(engine)


async def test_a_call_that_waited_for_a_fence_is_stopped(start: Start, admin: Connection) -> None:
    engine = await start()
    held = make_reserve(1)
    await engine.reservations.submit(held)
    fence = ("INSERT INTO fence (fence_id, sequence, active, message, actor) VALUES"
             " ('platform', 1, TRUE, 'Stop.', 'ops')")  # fmt: skip
    async with policy_locked(admin):
        calls = [held, make_reserve(0)]
        waiting = asyncio.create_task(engine.reservations.submit_all(calls))
        await wait_until_blocked(admin, waiting)
        await admin.execute(fence)
    for outcome in await waiting:
        assert isinstance(outcome, Denied), "it read the fences before it had the lock"
        assert outcome.reason is DenialReason.FENCED


async def test_a_batch_paused_with_its_locks_commits_nothing_after_a_fence(
    start: Start, admin: Connection
) -> None:
    paused, other = await start("paused"), await start("other")
    decided, go_on = await pause_before_commit(paused)
    calls = [make_reserve(1) for _ in range(5)]
    stuck = asyncio.create_task(paused.reservations.submit_all(calls))
    await decided.wait()
    fence = Fence(fence_id="platform", sequence=1, active=True, message="Stop.")
    await Policy(other.pool).set_fence(fence, actor="ops")
    answered = await admin.fetchval("SELECT clock_timestamp()")
    go_on.set()
    outcomes = await stuck
    assert all(isinstance(each, Denied) for each in outcomes)
    later = "SELECT count(*) FROM reservation WHERE org = 'acme' OR admit_time > $1"
    assert await admin.fetchval(later, answered) == 0


async def test_a_batch_decides_at_a_time_after_its_locks(start: Start, admin: Connection) -> None:
    engine = await start()
    await engine.reservations.submit(make_reserve(1))
    async with admin.transaction():
        await admin.execute("SELECT FROM counter WHERE org = 'acme' FOR UPDATE")
        call = asyncio.create_task(engine.reservations.submit(make_reserve(1)))
        await wait_until_blocked(admin, call)
        locked_until = await admin.fetchval("SELECT clock_timestamp()")
    outcome = await call
    assert isinstance(outcome, Held)
    assert outcome.reservation.admit_time >= locked_until, "it read the clock before its locks"


async def test_counters_are_locked_in_one_order(
    start: Start, admin: Connection, database_url: str
) -> None:
    """Whoever waits for the first counter of the order has locked none of the others."""
    engine = await start()
    await engine.reservations.submit(make_reserve(1))
    rows = await admin.fetch("SELECT counter_id FROM counter ORDER BY rank, counter_id")
    first, *others = [row["counter_id"] for row in rows]
    observer = await asyncpg.connect(database_url, server_settings={"search_path": "admission"})
    try:
        # Any order is the right one now and then, by chance; not so often.
        for _ in range(6):
            async with admin.transaction():
                await admin.execute("SELECT FROM counter WHERE counter_id = $1 FOR UPDATE", first)
                call = asyncio.create_task(engine.reservations.submit(make_reserve(1)))
                await wait_until_blocked(observer, call)
                free = await observer.fetch(FREE_COUNTERS, others)
                assert {row["counter_id"] for row in free} == set(others), "locked out of order"
            assert isinstance(await call, Held)
    finally:
        await observer.close()


async def run_beside(
    clock: Clock, admin: Connection, engines: tuple[Engine, Engine], *, extend_first: bool
) -> tuple[Outcome, Outcome]:
    """Extends and expires one hold, the second after its time and while the first is decided."""
    call = make_reserve(40, hold=10 * SECOND)
    await engines[0].reservations.submit(call)
    operations: list[Operation] = [Extend(call.key, 60 * SECOND), Expire(call.key)]
    if not extend_first:
        operations.reverse()
        await clock.set(NOON + 10 * SECOND)
    decided, go_on = await pause_before_commit(engines[0])
    leading = asyncio.create_task(engines[0].reservations.submit(operations[0]))
    await decided.wait()
    await clock.set(NOON + 11 * SECOND)
    following = asyncio.create_task(engines[1].reservations.submit(operations[1]))
    await wait_until_blocked(admin, following)
    go_on.set()
    return await leading, await following


@pytest.mark.parametrize("extend_first", [True, False])
async def test_an_extension_and_an_expiry_meet(
    admin: Connection,
    settings: AdmissionSettings,
    monkeypatch: pytest.MonkeyPatch,
    *,
    extend_first: bool,
) -> None:
    clock = await Clock.install(admin, monkeypatch, NOON)
    async with open_engine(settings, name="one") as one, open_engine(settings, name="two") as two:
        await two.reservations.submit(make_reserve(1, org="warm-up"))
        outcomes = await run_beside(clock, admin, (one, two), extend_first=extend_first)
        if extend_first:
            assert isinstance(outcomes[0], Extended)
            assert isinstance(outcomes[1], NotExpired), "freed before its extended time"
        else:
            assert outcomes == (Ended(State.EXPIRED, 40), Ended(State.EXPIRED, 40))
        await assert_books(one)
