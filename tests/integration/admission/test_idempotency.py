"""One id, one effect: over replicas, at once, twice in a batch, after it ended."""

from __future__ import annotations

import asyncio
import uuid

import pytest

from services.admission.domain.calls import Ended, Held, IdReused, Release, Settle, State
from services.admission.engine import Engine
from tests.integration.admission.replicas import (
    Start,
    assert_books,
    make_limit,
    make_reserve,
    new_call_id,
    put_limit,
)


@pytest.mark.parametrize("call_id", [None, uuid.uuid4()], ids=["version 7", "version 4"])
async def test_concurrent_replays_hold_once(start: Start, call_id: uuid.UUID | None) -> None:
    engines = [await start(f"replica-{number}") for number in range(2)]
    call = make_reserve(40, call_id=call_id)
    outcomes = await asyncio.gather(
        *(engines[number % 2].reservations.submit(call) for number in range(32))
    )
    assert [isinstance(each, Held) for each in outcomes] == [True] * 32
    assert sum(not each.replayed for each in outcomes if isinstance(each, Held)) == 1
    assert len({each.reservation.admit_time for each in outcomes if isinstance(each, Held)}) == 1
    await assert_books(engines[0])


@pytest.mark.parametrize("version", [7, 4])
async def test_an_ended_id_stays_ended(engine: Engine, version: int) -> None:
    call = make_reserve(40, call_id=new_call_id() if version == 7 else uuid.uuid4())
    await engine.reservations.submit(call)
    await engine.reservations.submit(Settle(call.key, 1, 12))
    assert await engine.reservations.submit(call) == Ended(State.SETTLED, 12)
    assert await engine.reservations.submit(Release(call.key)) == Ended(State.SETTLED, 12)
    other = make_reserve(40, call_id=call.key.call_id, fingerprint=b"o" * 32)
    assert isinstance(await engine.reservations.submit(other), IdReused)
    await assert_books(engine)


async def test_a_replay_after_a_denial_is_decided_anew(engine: Engine) -> None:
    await put_limit(engine, make_limit("acme-day", cap=100))
    blocker, call = make_reserve(100), make_reserve(1)
    await engine.reservations.submit(blocker)
    assert not isinstance(await engine.reservations.submit(call), Held)
    await engine.reservations.submit(Release(blocker.key))
    outcome = await engine.reservations.submit(call)
    assert isinstance(outcome, Held)
    assert not outcome.replayed


async def test_an_id_with_a_day_far_away_is_found_again(engine: Engine) -> None:
    # A version 7 id of the year 2001: its day has no partition.
    call_id = uuid.UUID(int=(1_000_000_000_000 << 80) | (7 << 76) | (2 << 62) | 5)
    call = make_reserve(40, call_id=call_id)
    await engine.reservations.submit(call)
    assert await engine.reservations.submit(Settle(call.key, 1, 1)) == Ended(State.SETTLED, 1)
    assert await engine.reservations.submit(call) == Ended(State.SETTLED, 1)
    await assert_books(engine)
