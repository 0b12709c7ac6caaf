"""Holds whose time has passed end once, and none ends before."""

from __future__ import annotations

import asyncio
import datetime as dt

from chassis.database import Connection
from services.admission.domain.calls import Ended, Settle, State
from services.admission.engine import Engine
from services.admission.sweeper import SWEEP_SIZE, sweep
from tests.integration.admission.replicas import Start, assert_books, make_reserve

AT_ONCE = dt.timedelta(0)


async def test_expired_holds_are_charged_and_others_left(
    engine: Engine, admin: Connection
) -> None:
    expired, open_call = make_reserve(40, hold=AT_ONCE), make_reserve(50)
    await engine.reservations.submit_all([expired, open_call])
    assert await sweep(engine.pool, engine.reservations) == 1
    assert await admin.fetchval("SELECT call_id FROM reservation") == open_call.key.call_id
    states = await admin.fetch("SELECT call_id, state, settled_nanos FROM ended_reservation")
    assert [tuple(each) for each in states] == [(expired.key.call_id, 4, 40)]
    assert await sweep(engine.pool, engine.reservations) == 0
    late = await engine.reservations.submit(Settle(expired.key, 1, 60))
    assert late == Ended(State.LATE, 60)
    await assert_books(engine)


async def test_sweepers_side_by_side_end_each_hold_once(start: Start, admin: Connection) -> None:
    engines = [await start(f"replica-{number}") for number in range(3)]
    count = 3 * SWEEP_SIZE + 5
    calls = [make_reserve(1, hold=AT_ONCE) for _ in range(count)]
    await engines[0].reservations.submit_all(calls)
    swept = await asyncio.gather(*(sweep(each.pool, each.reservations) for each in engines))
    assert sum(swept) == count
    assert await admin.fetchval("SELECT count(*) FROM ended_reservation") == count
    await assert_books(engines[0])
