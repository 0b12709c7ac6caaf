"""The rollups are the sums of the log, whatever happened to the batches that wrote both."""

from __future__ import annotations

import asyncio
import datetime as dt
import random

import pytest

from chassis.database import Connection
from chassis.errors import ServiceError
from services.accounting.domain.meters import NO_METERS, REPORTED, UNIT_COUNT_MAX, MeterCounts
from services.accounting.domain.usage import AMOUNT_MAX, Booking, Outcome, Report
from services.accounting.verification import find_differences
from tests.integration.accounting.replicas import Open, OpenConnection, Replica
from tests.integration.accounting.samples import SAMPLE_NANOS, now, report

KILL_COUNT = 12
SUMS = """
SELECT
    sum(call_count)::bigint, sum(failed_count)::bigint, sum(unreported_count)::bigint,
    sum(cost_nanos), sum(unreported_cost_nanos), sum(input_token_count)::bigint,
    sum(output_token_count)::bigint
"""


async def differences(admin: Connection) -> list[object]:
    days = await admin.fetch(
        "SELECT DISTINCT (admit_time AT TIME ZONE 'UTC')::date AS day FROM usage_log"
        " UNION SELECT day FROM rollup"
    )
    return [each for row in days for each in await find_differences(admin, row["day"])]


async def test_one_batch_is_summed_by_org_operation_provider_and_model(
    replica: Replica, admin: Connection
) -> None:
    await replica.ledger.record(
        [
            report(),
            report(outcome=Outcome.PROVIDER_FAILED, meters=NO_METERS),
            report(outcome=Outcome.ABORTED, meters=NO_METERS, held_nanos=5),
            report(org="globex"),
            report(operation="translate"),
        ]
    )

    rows = await admin.fetch(
        "SELECT org, operation, call_count, failed_count, unreported_count, cost_nanos::bigint,"
        " unreported_cost_nanos::bigint, input_token_count, reasoning_token_count"
        " FROM rollup_org_day ORDER BY 1, 2"
    )

    assert [tuple(row) for row in rows] == [
        ("acme", "summarize", 3, 2, 1, SAMPLE_NANOS + 5, 5, 100, 0),
        ("acme", "translate", 1, 0, 0, SAMPLE_NANOS, 0, 100, 0),
        ("globex", "summarize", 1, 0, 0, SAMPLE_NANOS, 0, 100, 0),
    ]
    assert await differences(admin) == []


async def test_orgs_and_platform_have_the_same_sums(replica: Replica, admin: Connection) -> None:
    days = [now() - dt.timedelta(days=number % 3) for number in range(30)]
    for batch in range(3):
        await replica.ledger.record(
            [
                report(
                    org=f"org-{number % 4}", admit_time=day, meters=MeterCounts(number, output=7)
                )
                for number, day in enumerate(days[batch::3])
            ]
        )

    orgs = await admin.fetchrow(f"{SUMS} FROM rollup_org_day")
    platform = await admin.fetchrow(f"{SUMS} FROM rollup_platform_day")

    assert orgs == platform
    assert orgs is not None
    assert orgs[0] == 30
    assert await differences(admin) == []


async def book_all(replica: Replica, order: list[Report], booked: dict[object, int]) -> None:
    """Reports in batches, each as often as it takes to be acknowledged."""
    for begin in range(0, len(order), 16):
        waiting = order[begin : begin + 16]
        while waiting:
            answers = await replica.ledger.record(waiting)
            for each, answer in zip(waiting, answers, strict=True):
                if isinstance(answer, Booking):
                    total = booked.setdefault(each.call_id, answer.total_nanos)
                    assert total == answer.total_nanos
                else:
                    assert isinstance(answer, ServiceError), answer
            waiting = [each for each in waiting if each.call_id not in booked]


async def kill_writers(admin: Connection) -> None:
    """Ends the backends of busy writers: not for ever, so that batches get through in the end."""
    killed = 0
    while killed < KILL_COUNT:
        killed += await admin.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name = 'accounting-writer'"
            " AND datname = current_database() AND state = 'active'"
        )


async def test_sums_hold_with_replicas_duplicates_and_killed_connections(
    start: Open, admin: Connection, connect: OpenConnection
) -> None:
    chance = random.Random(7)
    replicas = [await start() for _ in range(2)]
    reports = [
        report(
            org=chance.choice(["acme", "globex", "initech"]),
            admit_time=now() - dt.timedelta(days=chance.randrange(2)),
            meters=MeterCounts(chance.randrange(1_000), output=chance.randrange(1_000)),
        )
        for _ in range(400)
    ]
    booked: dict[object, int] = {}

    killing = asyncio.create_task(kill_writers(await connect()))
    orders = [chance.sample(reports, len(reports)) for _ in replicas]
    await asyncio.gather(
        *[book_all(each, order, booked) for each, order in zip(replicas, orders, strict=True)]
    )
    while not killing.done():
        await replicas[0].ledger.record([report()])
    await killing

    logged = await admin.fetch("SELECT call_id, total_nanos FROM usage_log")
    totals = {row["call_id"]: row["total_nanos"] for row in logged}
    assert len(totals) == len(logged)
    assert booked.items() <= totals.items()
    assert await differences(admin) == []


async def test_the_greatest_amounts_do_not_overflow_a_days_sum(
    replica: Replica, admin: Connection
) -> None:
    # Ten of these exceed 64 bits.
    dearest = [
        report(meters=NO_METERS, held_nanos=AMOUNT_MAX, outcome=Outcome.ABORTED) for _ in range(10)
    ]
    answers = await replica.ledger.record(dearest)

    assert all(isinstance(answer, Booking) and answer.first for answer in answers)
    total = await admin.fetchval("SELECT cost_nanos FROM rollup_platform_day")
    assert int(total) == 10 * AMOUNT_MAX > 2**63
    assert await differences(admin) == []


async def test_the_greatest_meters_are_summed(replica: Replica, admin: Connection) -> None:
    most = MeterCounts(*[UNIT_COUNT_MAX] * len(REPORTED))
    await replica.ledger.record([report(meters=most) for _ in range(3)])

    row = await admin.fetchrow(
        "SELECT input_token_count, code_session_count FROM rollup_platform_day"
    )

    assert row is not None
    assert tuple(row) == (3 * UNIT_COUNT_MAX, 3 * UNIT_COUNT_MAX)
    assert await differences(admin) == []


@pytest.mark.parametrize("batch", [[], [0]])
async def test_a_batch_without_anything_new_touches_no_rollup(
    replica: Replica, admin: Connection, batch: list[int]
) -> None:
    reports = [report()]
    await replica.ledger.record(reports)
    before = await admin.fetchval("SELECT xmin::text FROM rollup_platform_day")

    await replica.ledger.record([reports[place] for place in batch])

    assert await admin.fetchval("SELECT xmin::text FROM rollup_platform_day") == before
