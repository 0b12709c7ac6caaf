"""All writers lock in one order, so that none waits for another in a circle.

Each test stops two writers half-way, by a lock in the middle of what both need, and lets them go.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chassis.database import Connection
from services.accounting.domain.usage import Booking, Charge, CostBasis, Entry
from services.accounting.store import LogWriter, Result
from tests.integration.accounting.replicas import Open, OpenConnection
from tests.integration.accounting.samples import SAMPLE_NANOS, report

WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name = 'accounting-writer' AND wait_event_type = 'Lock'
    AND datname = current_database()
"""
HOLD_LOG = """
INSERT INTO usage_entry (
    org, call_id, admit_time, kind_id, caller_id, outcome, cost_basis, price_version, held_nanos,
    total_nanos, payload_digest
)
SELECT
    $1::text, $2::uuid, $3::timestamptz, max(k.kind_id), max(c.caller_id), 1, 1, 1, 9, 5, ''
FROM call_kind AS k, caller AS c
"""
HOLD_ROLLUP = "SELECT day FROM rollup_org_day WHERE org = $1::text FOR UPDATE"


def make_entries() -> list[Entry]:
    """Four calls of each of sixteen orgs, in the order of their keys in the log."""
    charge = Charge(SAMPLE_NANOS, CostBasis.METERS)
    reports = [report(org=f"org-{number % 16:02}") for number in range(64)]
    reports.sort(key=lambda each: (each.org, each.call_id.bytes))
    return [Entry(each, charge, each.digest()) for each in reports]


@asynccontextmanager
async def held(connection: Connection, statement: str, *arguments: object) -> AsyncIterator[None]:
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(statement, *arguments)
    yield
    await transaction.rollback()


async def wait_for_locks(admin: Connection, count: int) -> None:
    async with asyncio.timeout(5):
        while await admin.fetchval(WAITING) < count:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.005)


async def finish(*writing: asyncio.Task[list[Result]]) -> None:
    for found in await asyncio.gather(*writing):
        assert all(isinstance(answer, Booking) for answer in found)


async def open_writers(start: Open) -> tuple[LogWriter, LogWriter]:
    """Two writers with a connection each; the day has its partition, each org its rollup."""
    first, second = (await start()).writer, (await start()).writer
    await first.write(make_entries())
    await second.write(make_entries())
    return first, second


async def test_the_log_is_locked_in_the_order_of_its_keys(
    start: Open, connect: OpenConnection, admin: Connection
) -> None:
    first, second = await open_writers(start)
    entries = make_entries()
    middle = entries[32].report
    holder = await connect()

    async with held(holder, HOLD_LOG, middle.org, middle.call_id, middle.admit_time):
        upwards = asyncio.create_task(first.write(entries))
        downwards = asyncio.create_task(second.write(entries[::-1]))
        await wait_for_locks(admin, 2)

    await finish(upwards, downwards)


async def test_rollups_are_locked_in_the_order_of_their_keys(
    start: Open, connect: OpenConnection, admin: Connection
) -> None:
    first, second = await open_writers(start)
    holder = await connect()

    async with held(holder, HOLD_ROLLUP, "org-08"):
        upwards = asyncio.create_task(first.write(make_entries()))
        downwards = asyncio.create_task(second.write(make_entries()[::-1]))
        await wait_for_locks(admin, 2)

    await finish(upwards, downwards)
