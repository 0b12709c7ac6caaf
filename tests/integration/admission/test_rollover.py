"""Midnight: a new period is a new counter, and a call stays in the period it was admitted in."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from chassis.database import Connection
from services.admission.config import AdmissionSettings
from services.admission.domain.calls import Denied, Held, Settle
from services.admission.engine import Engine, open_engine
from services.admission.sweeper import sweep
from tests.integration.admission.clock import Clock
from tests.integration.admission.replicas import (
    assert_books,
    make_limit,
    make_reserve,
    put_limit,
)

NOON = dt.datetime(2026, 3, 28, 12, tzinfo=dt.UTC)


@pytest_asyncio.fixture
async def clock(admin: Connection, monkeypatch: pytest.MonkeyPatch) -> Clock:
    return await Clock.install(admin, monkeypatch, NOON)


@pytest_asyncio.fixture
async def engine(clock: Clock, settings: AdmissionSettings) -> AsyncIterator[Engine]:
    async with open_engine(settings, name="admission") as engine:
        yield engine


async def test_a_new_day_has_a_whole_cap(engine: Engine, clock: Clock, admin: Connection) -> None:
    await put_limit(engine, make_limit("acme-day", cap=100))
    call = make_reserve(100, hold=dt.timedelta(days=3))
    await engine.reservations.submit(call)
    denied = await engine.reservations.submit(make_reserve(1))
    assert isinstance(denied, Denied)
    await clock.set(NOON + dt.timedelta(hours=12, microseconds=-1))
    assert isinstance(await engine.reservations.submit(make_reserve(1)), Denied)
    await clock.set(NOON + dt.timedelta(hours=12))
    assert isinstance(await engine.reservations.submit(make_reserve(100)), Held)
    # It ends tomorrow and is charged to today.
    await engine.reservations.submit(Settle(call.key, 1, 70))
    rows = await admin.fetch(
        "SELECT start_time::date::text AS day, held, settled FROM counter"
        " WHERE org = 'acme' AND metric = 2 AND period = 1 ORDER BY start_time"
    )
    assert [tuple(row) for row in rows] == [("2026-03-28", 0, 70), ("2026-03-29", 100, 0)]
    await assert_books(engine)


async def test_days_of_a_clock_change_roll_at_local_midnight(engine: Engine, clock: Clock) -> None:
    zone = "Europe/Amsterdam"
    await put_limit(engine, make_limit("acme-local", cap=10, time_zone=zone))
    # 29 March 2026 has 23 hours there: it begins at 23:00 UTC and ends at 22:00 UTC.
    for instant, admitted in (
        ("2026-03-28T23:00+00:00", True),
        ("2026-03-29T21:59:59+00:00", False),
        ("2026-03-29T22:00+00:00", True),
    ):
        await clock.set(dt.datetime.fromisoformat(instant))
        outcome = await engine.reservations.submit(make_reserve(10))
        assert isinstance(outcome, Held) is admitted, instant


async def test_a_hold_lives_exactly_as_long_as_it_may(engine: Engine, clock: Clock) -> None:
    await engine.reservations.submit(make_reserve(1, hold=dt.timedelta(seconds=60)))
    await clock.set(NOON + dt.timedelta(seconds=60, microseconds=-1))
    assert await sweep(engine.pool, engine.reservations) == 0
    await clock.set(NOON + dt.timedelta(seconds=60))
    assert await sweep(engine.pool, engine.reservations) == 1


async def test_a_clock_that_steps_back_does_not_reopen_yesterday(
    engine: Engine, clock: Clock
) -> None:
    await put_limit(engine, make_limit("acme-day", cap=100))
    await clock.set(NOON + dt.timedelta(hours=12))
    first = await engine.reservations.submit(make_reserve(100))
    assert isinstance(first, Held)
    await clock.set(NOON)
    second = await engine.reservations.submit(make_reserve(1))
    # The platform's month was used at midnight: no decision on it is older than that.
    assert isinstance(second, Denied)
    await assert_books(engine)
