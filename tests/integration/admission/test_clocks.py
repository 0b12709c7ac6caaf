"""Replicas whose own clocks are wrong: only the database's time decides."""

from __future__ import annotations

import datetime as dt

import pytest

from chassis.database import Connection
from services.admission.domain.calls import Denied, Ended, Expire, Held, NotExpired, State
from services.admission.engine import Engine
from services.admission.sweeper import sweep
from tests.guarantees.nemesis.skew.sitecustomize import skewed_datetime
from tests.integration.admission.replicas import (
    MINUTE,
    assert_books,
    make_limit,
    make_reserve,
    put_limit,
)

TWO_DAYS = dt.timedelta(days=2)
CLOCK = "SELECT clock_timestamp()"


@pytest.fixture(params=[TWO_DAYS, -TWO_DAYS], ids=["fast", "slow"])
def offset(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> dt.timedelta:
    """How wrong this process's clock is, while the test runs."""
    offset: dt.timedelta = request.param
    monkeypatch.setattr(dt, "datetime", skewed_datetime(offset.total_seconds))
    return offset


async def test_a_hold_lives_by_the_databases_clock(
    offset: dt.timedelta, engine: Engine, admin: Connection
) -> None:
    before = await admin.fetchval(CLOCK)
    assert abs(dt.datetime.now(dt.UTC) - before - offset) < MINUTE
    live, dead = make_reserve(40), make_reserve(40, hold=dt.timedelta(0))
    outcomes = await engine.reservations.submit_all([live, dead])
    after = await admin.fetchval(CLOCK)
    for outcome in outcomes:
        assert isinstance(outcome, Held)
        assert before <= outcome.reservation.admit_time <= after
    # Not one hold is freed early, and none too late.
    assert await engine.reservations.submit(Expire(live.key)) == NotExpired()
    assert await sweep(engine.pool, engine.reservations) == 1
    assert await engine.reservations.submit(dead) == Ended(State.EXPIRED, 40)
    await assert_books(engine)


@pytest.mark.usefixtures("offset")
async def test_a_call_is_charged_to_the_databases_day(engine: Engine, admin: Connection) -> None:
    await put_limit(engine, make_limit("acme-day", cap=100))
    assert isinstance(await engine.reservations.submit(make_reserve(90)), Held)
    assert isinstance(await engine.reservations.submit(make_reserve(90)), Denied)
    wrong = (
        "SELECT count(*) FROM counter"
        " WHERE NOT clock_timestamp() <@ tstzrange(start_time, end_time)"
    )
    assert await admin.fetchval(wrong) == 0
