"""Users, teams, API keys, features and labels have sums of their own, and not too many of them."""

from __future__ import annotations

import asyncio
import datetime as dt
from itertools import count

import pytest

from chassis.database import Connection
from services.accounting import store
from services.accounting.domain.latency import LATENCY_BOUNDS, decode_histogram
from services.accounting.domain.meters import METER_FIELDS, MeterCounts
from services.accounting.domain.usage import Outcome
from services.accounting.verification import find_differences, rebuild
from tests.integration.accounting.replicas import Open, OpenConnection, Replica
from tests.integration.accounting.samples import SAMPLE_NANOS, now, report
from tests.integration.accounting.test_locks import held, wait_for_locks

VALUES = """
SELECT dimension, value, call_count, cost_nanos::bigint FROM rollup_dimension_day
ORDER BY dimension, value
"""


async def assert_sums_hold(admin: Connection) -> None:
    for row in await admin.fetch("SELECT DISTINCT day FROM rollup"):
        assert await find_differences(admin, row["day"]) == []


async def test_each_dimension_of_a_call_has_its_sums(replica: Replica, admin: Connection) -> None:
    full = {"team": "red", "user": "u-1", "feature": "chat", "session": "s-1"}
    labels = {"ticket": "T-1", "phase": "build", "undeclared": "x"}
    await replica.ledger.record(
        [report(api_key_id="k_1", labels=labels, **full), report(team="red"), report()]
    )

    assert [tuple(row) for row in await admin.fetch(VALUES)] == [
        ("api_key", "k_1", 1, SAMPLE_NANOS),
        ("feature", "chat", 1, SAMPLE_NANOS),
        ("label.phase", "build", 1, SAMPLE_NANOS),
        ("label.ticket", "T-1", 1, SAMPLE_NANOS),
        ("team", "red", 2, 2 * SAMPLE_NANOS),
        ("user", "u-1", 1, SAMPLE_NANOS),
    ]
    await assert_sums_hold(admin)


async def test_values_beyond_the_bound_are_summed_together(
    replica: Replica, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "VALUE_COUNT_MAX", 3)
    for batch in (("a", "b"), ("c", "d", "a"), ("e", "d", "b"), ("f",)):
        await replica.ledger.record([report(user=user) for user in batch])

    assert [tuple(row)[1:3] for row in await admin.fetch(VALUES)] == [
        ("", 4),
        ("a", 2),
        ("b", 2),
        ("c", 1),
    ]
    bound = await admin.fetchrow("SELECT value_count, is_reached FROM dimension_bound")
    assert bound is not None
    assert tuple(bound) == (3, True)
    await assert_sums_hold(admin)


async def test_another_day_and_another_org_have_bounds_of_their_own(
    replica: Replica, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "VALUE_COUNT_MAX", 1)
    yesterday = now() - dt.timedelta(days=1)
    await replica.ledger.record([report(user="a"), report(user="b", org="globex")])
    await replica.ledger.record([report(user="b", admit_time=yesterday), report(user="c")])

    values = [row["value"] for row in await admin.fetch(VALUES)]
    assert values == ["", "a", "b", "b"]
    await assert_sums_hold(admin)


async def test_the_bound_is_exact_however_many_replicas_bring_new_values(
    start: Open, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "VALUE_COUNT_MAX", 20)
    replicas = [await start() for _ in range(3)]
    numbers = count()

    async def book(replica: Replica) -> None:
        for _ in range(10):
            await replica.ledger.record([report(user=f"u-{next(numbers) % 45}") for _ in range(4)])

    await asyncio.gather(*map(book, replicas))

    own = "SELECT count(*) FROM rollup_dimension_day WHERE value <> ''"
    assert await admin.fetchval(own) == 20
    assert await admin.fetchval("SELECT sum(call_count)::int FROM rollup_dimension_day") == 120
    await assert_sums_hold(admin)


async def test_two_that_bring_the_last_value_at_once_do_not_both_get_a_rollup(
    start: Open, connect: OpenConnection, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "VALUE_COUNT_MAX", 2)
    first, second = await start(), await start()
    for replica in (first, second):
        await replica.ledger.record([report(user="a")])
    holder = await connect()

    # Whoever comes first stops at the platform's row, its bound locked; the other at the bound.
    async with held(holder, "SELECT day FROM rollup_platform_day FOR UPDATE"):
        booking = [
            asyncio.create_task(replica.ledger.record([report(user=user)]))
            for replica, user in ((first, "b"), (second, "c"))
        ]
        await wait_for_locks(admin, 2)
    await asyncio.gather(*booking)

    own = "SELECT count(*) FROM rollup_dimension_day WHERE value <> ''"
    assert await admin.fetchval(own) == 2
    await assert_sums_hold(admin)


async def test_a_rebuild_keeps_what_is_summed_together(
    replica: Replica, admin: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "VALUE_COUNT_MAX", 1)
    await replica.ledger.record([report(user=user) for user in ("a", "b", "c")])
    before = await admin.fetch(VALUES)
    await admin.execute("UPDATE rollup SET cost_nanos = 0, call_count = 9")

    await rebuild(admin, now().date())

    assert await admin.fetch(VALUES) == before
    await assert_sums_hold(admin)


async def test_every_meter_is_kept_and_summed_and_a_missing_one_stays_missing(
    replica: Replica, admin: Connection
) -> None:
    await replica.ledger.record([report(meters=MeterCounts(*range(1, 20)))])
    await replica.ledger.record([report(meters=MeterCounts(*range(1, 20)))])

    for table in ("rollup_org_hour", "rollup_org_day", "rollup_platform_day"):
        row = await admin.fetchrow(f"SELECT {', '.join(METER_FIELDS)} FROM {table}")
        assert row is not None
        assert tuple(row) == (*range(2, 40, 2), None)
    await assert_sums_hold(admin)


async def test_calls_that_succeeded_are_counted_by_latency(
    replica: Replica, admin: Connection
) -> None:
    times = [0, *(edge for bound in LATENCY_BOUNDS for edge in (bound - 1, bound)), 10**8]
    await replica.ledger.record([report(latency_ms=each) for each in times])
    await replica.ledger.record(
        [report(latency_ms=5, outcome=Outcome.PROVIDER_FAILED), report(latency_ms=None)]
    )

    packed = await admin.fetchval("SELECT latency_histogram FROM rollup_platform_day")
    counts = decode_histogram(int(packed))

    assert counts == [2] * (len(LATENCY_BOUNDS) + 1)
    await assert_sums_hold(admin)
