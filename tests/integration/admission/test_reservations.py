"""Batches on a real database: what is held, settled, released, and what one bad member does."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from chassis.database import Connection
from chassis.errors import StoreUnavailable
from services.admission.domain.calls import (
    Denied,
    Ended,
    Expire,
    Held,
    Release,
    Settle,
    State,
)
from services.admission.engine import Engine
from tests.integration.admission.replicas import (
    Start,
    assert_books,
    make_limit,
    make_reserve,
    put_limit,
)


async def test_the_life_of_a_call(engine: Engine, admin: Connection) -> None:
    call = make_reserve(500)
    held = await engine.reservations.submit(call)
    assert isinstance(held, Held)
    row = await admin.fetchrow("SELECT * FROM reservation WHERE call_id = $1", call.key.call_id)
    assert row is not None
    assert row["held_nanos"] == 500
    assert row["expire_time"] - row["admit_time"] == call.hold_duration
    assert (row["admit_time"], row["expire_time"]) == (
        held.reservation.admit_time,
        held.reservation.expire_time,
    )
    await assert_books(engine)
    outcome = await engine.reservations.submit(Settle(call.key, 1, 321))
    assert outcome == Ended(State.SETTLED, 321)
    assert await admin.fetchval("SELECT count(*) FROM reservation") == 0
    sums = await admin.fetch("SELECT metric, held, settled FROM counter WHERE org = 'acme'")
    assert {tuple(each) for each in sums} == {(1, 0, 1), (2, 0, 321)}
    await assert_books(engine)


async def test_room_freed_in_a_batch_is_used_in_it(engine: Engine) -> None:
    await put_limit(engine, make_limit("acme-day", cap=100))
    first, second = make_reserve(100), make_reserve(90)
    await engine.reservations.submit(first)
    outcomes = await engine.reservations.submit_all([second, Settle(first.key, 1, 10)])
    assert isinstance(outcomes[0], Held)
    await assert_books(engine)


async def test_a_member_with_bad_values_fails_alone(engine: Engine) -> None:
    calls = [make_reserve(1) for _ in range(16)]
    # Postgres stores no NUL in a text.
    calls[5].operation = "bad\0name"
    outcomes = await engine.reservations.submit_all(calls)
    assert isinstance(outcomes[5], asyncpg.DataError)
    assert sum(isinstance(each, Held) for each in outcomes) == 15
    await assert_books(engine)


async def test_a_lost_connection_is_not_noticed_by_callers(
    engine: Engine, admin: Connection
) -> None:
    await engine.reservations.submit(make_reserve(1))
    ended = await admin.fetchval(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE application_name = 'admission-writer' AND datname = current_database()"
    )
    assert ended == 1
    assert isinstance(await engine.reservations.submit(make_reserve(1)), Held)
    await assert_books(engine)


async def test_a_commit_whose_answer_was_lost_has_one_effect(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    await engine.reservations.submit(make_reserve(1))
    store = engine.reservations._store
    assert store is not None
    commit = store.commit

    async def commit_and_lose(*arguments: object) -> None:
        await commit(*arguments)  # type: ignore[arg-type]
        store.terminate()
        raise ConnectionResetError

    monkeypatch.setattr(store, "commit", commit_and_lose, raising=False)
    call = make_reserve(77)
    outcome = await engine.reservations.submit(call)
    assert isinstance(outcome, Held)
    assert outcome.replayed
    await assert_books(engine)


async def test_a_database_that_stays_away_is_unavailable(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse() -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(engine.reservations, "_connect", refuse)
    monkeypatch.setattr(engine.reservations, "_store", None)
    with pytest.raises(StoreUnavailable):
        await engine.reservations.submit(make_reserve(1))


async def test_locks_that_are_not_given_in_time_change_nothing(
    engine: Engine, admin: Connection
) -> None:
    await engine.reservations.submit(make_reserve(1))
    call = make_reserve(1)
    async with admin.transaction():
        await admin.execute("SELECT FROM counter FOR UPDATE")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await engine.reservations.submit(call)
    assert isinstance(await engine.reservations.submit(call), Held)
    await assert_books(engine)


async def test_a_counter_that_vanished_is_never_zero(engine: Engine, admin: Connection) -> None:
    await put_limit(engine, make_limit("acme-day", cap=10))
    await engine.reservations.submit(make_reserve(5))
    await admin.execute("UPDATE counter SET counter_id = gen_random_uuid()")
    outcome = await engine.reservations.submit(make_reserve(6))
    # Its row is made anew before it is locked: decided on a row, never on the lack of one.
    assert isinstance(outcome, Held)
    assert await admin.fetchval("SELECT count(*) FROM counter") == 12


async def test_replicas_share_one_cap(start: Start) -> None:
    engines = [await start(f"replica-{number}") for number in range(3)]
    await put_limit(engines[0], make_limit("acme-day", cap=1000))
    outcomes = await asyncio.gather(
        *(engines[number % 3].reservations.submit(make_reserve(30)) for number in range(120))
    )
    assert sum(isinstance(each, Held) for each in outcomes) == 1000 // 30
    assert sum(isinstance(each, Denied) for each in outcomes) == 120 - 1000 // 30
    await assert_books(engines[0])


async def test_operations_on_calls_that_are_not_there(engine: Engine) -> None:
    ghosts = [make_reserve(1).key for _ in range(3)]
    released, settled, expired = await engine.reservations.submit_all(
        [Release(ghosts[0]), Settle(ghosts[1], 4, 9), Expire(ghosts[2])]
    )
    assert released == Ended(State.RELEASED, 0)
    assert settled == Ended(State.SETTLED, 9)
    assert not isinstance(expired, (Ended, BaseException))
    await assert_books(engine)
