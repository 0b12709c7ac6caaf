"""Random traffic over two replicas: after every batch the counters equal the reservations."""

from __future__ import annotations

import asyncio
import datetime as dt
import random

import asyncpg
import pytest

from chassis.database import Connection
from chassis.process import JobError
from services.admission.auditor import audit as audit_books
from services.admission.auditor import read_results
from services.admission.config import AdmissionSettings
from services.admission.domain.calls import CallKey, Expire, Operation, Release, Settle
from services.admission.engine import Engine
from services.admission.jobs.audit import audit
from tests.integration.admission.replicas import (
    ROOMY,
    Start,
    assert_books,
    make_limit,
    make_reserve,
    new_call_id,
    put_limit,
)

ORGS = ("acme", "globex", "initech")


def draw(chance: random.Random, known: list[CallKey]) -> Operation:
    kind = chance.randrange(5)
    if kind < 2 or not known:
        org = chance.choice(ORGS)
        # An id is sometimes used again, and sometimes by another org.
        call_id = chance.choice(known).call_id if known and kind == 0 else new_call_id()
        costs = [chance.randrange(60) for _ in range(chance.randrange(1, 4))]
        hold = dt.timedelta(seconds=chance.choice((0, 60)))
        call = make_reserve(*costs, org=org, call_id=call_id, hold=hold)
        known.append(call.key)
        return call
    key = chance.choice(known)
    if kind == 2:
        return Settle(key, chance.randrange(1, 4), chance.randrange(90))
    return Release(key) if kind == 3 else Expire(key)


@pytest.mark.parametrize("seed", range(4))
async def test_counters_equal_reservations_at_every_sample(start: Start, seed: int) -> None:
    engines = [await start("one"), await start("two")]
    chance, known = random.Random(seed), list[CallKey]()
    for _ in range(25):
        for org in ORGS:
            cap = chance.choice((50, 400, ROOMY))
            await put_limit(engines[0], make_limit(f"{org}-day", org=org, cap=cap))
        batches = [[draw(chance, known) for _ in range(chance.randrange(1, 9))] for _ in engines]
        running = asyncio.gather(
            *(
                engine.reservations.submit_all(batch)
                for engine, batch in zip(engines, batches, strict=True)
            )
        )
        await assert_books(engines[1])
        assert not [
            each for batch in await running for each in batch if isinstance(each, Exception)
        ]
        await assert_books(engines[0])


async def test_the_audit_finds_what_is_wrong(
    engine: Engine, admin: Connection, settings: AdmissionSettings
) -> None:
    await engine.reservations.submit(make_reserve(40))
    await audit(settings)
    await admin.execute("UPDATE counter SET held = held + 1, high_cap = high_cap + 1")
    found = await audit_books(engine.pool, grace=dt.timedelta(minutes=1))
    assert {(each.held, each.expected_held) for each in found.counters} == {(2, 1), (41, 40)}
    told = await read_results(engine.pool)
    assert {number: count for number, (count, _) in told.items()} == dict.fromkeys((3, 4, 5, 6), 0)
    with pytest.raises(JobError, match="4: 6 times"):
        await audit(settings)
    again = await read_results(engine.pool)
    assert {number: count for number, (count, _) in again.items()} == {3: 0, 4: 6, 5: 0, 6: 0}
    assert again[4][1] > told[4][1]


async def test_the_schema_itself_refuses_an_overspent_cap(
    engine: Engine, admin: Connection
) -> None:
    await engine.reservations.submit(make_reserve(40))
    with pytest.raises(asyncpg.CheckViolationError, match="counter_guarantee"):
        await admin.execute("UPDATE counter SET held = high_cap + overrun + 1 - settled")
