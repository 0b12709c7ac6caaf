"""Scopes that a replica has not met, and days that a batch does not name: cheap, and exact."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest

from chassis.database import Connection
from services.admission.batch_store import SESSION_SETTINGS
from services.admission.domain.calls import Denied, Ended, Held, Release, Settle, State
from services.admission.engine import Engine
from services.admission.queries import QUERIES
from tests.integration.admission.clock import Clock
from tests.integration.admission.replicas import (
    Start,
    assert_books,
    make_limit,
    make_reserve,
    put_limit,
)

SET_COUNT = "SELECT count(*) FROM counter_set"
PARTITION = re.compile(r"ended_reservation_(\d{8}|undated)")


class Inserts:
    """Counts how often an engine makes counters, in transactions of their own."""

    def __init__(self, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self._counters = engine.reservations._counters
        self._insert = self._counters._insert
        monkeypatch.setattr(self._counters, "_insert", self._note)

    async def _note(self, keys: Any) -> int:
        self.count += 1
        return await self._insert(keys)


async def test_counters_that_another_replica_made_are_only_locked(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = await start("one"), await start("two")
    await put_limit(one, make_limit("acme-day", cap=100))
    await one.reservations.submit(make_reserve(60))
    inserts = Inserts(two, monkeypatch)
    denied = await two.reservations.submit(make_reserve(60))
    assert isinstance(denied, Denied)
    assert (denied.violations[0].held, denied.violations[0].excess) == (60, 20)
    assert isinstance(await two.reservations.submit(make_reserve(40)), Held)
    assert inserts.count == 0
    await assert_books(one)


async def test_new_scopes_in_a_row_are_made_before_the_lock(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    inserts, rounds = Inserts(engine, monkeypatch), []
    await engine.reservations.submit(make_reserve(1, org="first"))
    store = engine.reservations._store
    assert store is not None
    begin = store.begin

    async def note_and_begin() -> None:
        rounds.append(1)
        await begin()

    monkeypatch.setattr(store, "begin", note_and_begin, raising=False)
    for org in ("second", "third"):
        assert isinstance(await engine.reservations.submit(make_reserve(1, org=org)), Held)
    assert inserts.count == 3
    assert len(rounds) == 2, "a batch missed counters that it could have made"
    await assert_books(engine)


async def test_a_set_is_remembered_only_when_it_is_committed(
    engine: Engine, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await engine.reservations.submit(make_reserve(1, org="warm-up"))
    store = engine.reservations._store
    assert store is not None

    async def lose(*_: object) -> None:
        store.terminate()
        raise ConnectionResetError

    monkeypatch.setattr(store, "commit", lose, raising=False)
    call = make_reserve(60)
    assert isinstance(await engine.reservations.submit(call), Held)
    assert await admin.fetchval(SET_COUNT) == 2, "the hold counts on a set that is not there"
    assert await engine.reservations.submit(Settle(call.key, 1, 20)) == Ended(State.SETTLED, 20)
    await assert_books(engine)


async def test_a_denial_leaves_no_set(engine: Engine, admin: Connection) -> None:
    await put_limit(engine, make_limit("acme-day", cap=10))
    assert isinstance(await engine.reservations.submit(make_reserve(60)), Denied)
    assert await admin.fetchval(SET_COUNT) == 0


async def test_a_call_ends_on_the_day_to_which_the_clock_jumped(
    admin: Connection, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    now: dt.datetime = await admin.fetchval("SELECT now()")
    clock = await Clock.install(admin, monkeypatch, now - dt.timedelta(days=30))
    engine = await start()
    await engine.reservations.submit(make_reserve(1))
    await clock.set(now)
    # As after a machine has slept: no batch has told the time meanwhile.
    ended = await engine.reservations.submit(Release(make_reserve(1).key))
    assert ended == Ended(State.RELEASED, 0)


@pytest.mark.parametrize(
    ("query", "values"),
    [
        (
            "update_ended",
            (
                "array['a'], array[gen_random_uuid()], array[{day}], array[2::smallint],"
                " array[1::bigint], array[1::bigint], array[1], array[false], {day}, {day}"
            ),
        ),
        (
            "select_unsettled",
            "array['a'], array[gen_random_uuid()], array[{day}], array[1], {day}, {day}",
        ),
        (
            "select_reservations",
            "array['a'], array[gen_random_uuid()], array[{day}], {day}, {day}",
        ),
    ],
)
async def test_only_the_days_named_are_opened(admin: Connection, query: str, values: str) -> None:
    today: dt.date = await admin.fetchval("SELECT current_date")
    for distance in range(20):
        await admin.execute(QUERIES.ensure_ended_partition.sql, today - dt.timedelta(distance))
    for name, value in SESSION_SETTINGS.items():
        await admin.execute(f"SET {name} = {value}")
    await admin.execute(f"PREPARE named AS {getattr(QUERIES, query).sql.rstrip().rstrip(';')}")
    arguments = values.format(day=f"'{today}'::date")
    plan = await admin.fetch(f"EXPLAIN (ANALYZE) EXECUTE named ({arguments})")
    opened = {match for row in plan for match in PARTITION.findall(row[0])}
    assert opened <= {f"{today:%Y%m%d}", "undated"}, "\n".join(row[0] for row in plan)
    assert opened
