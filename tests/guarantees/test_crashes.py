"""Any part is killed in the middle of traffic: what was acknowledged is there, and books close."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid

import pytest

from chassis.database import Connection
from tests.guarantees.callers import (
    HELD_NANOS,
    HOLD_SECONDS,
    USED_NANOS,
    Callers,
    books,
    find_differences,
)

CLIENT_COUNT = 24
# Calls booked before the kill, and after it.
CALLS_BETWEEN = 60
# One call of so many is never reported: its caller crashed.
FORGOTTEN_EVERY = 10
# Expiry, the next sweep, the feed's next page, and a part that starts again.
HEAL_SECONDS = HOLD_SECONDS + 40

KILL_WRITER = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = $1"
SETTLED_AND_UNREPORTED = """
    SELECT
        (SELECT settled FROM counter WHERE org = $1 AND metric = 2 AND period = 1)
            AS settled,
        (SELECT count(*) FROM ended_reservation WHERE org = $1 AND state = 4) AS unreported
"""

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def kill(callers: Callers, victim: str) -> None:
    """Kills a process, or every database session of a service, without a warning."""
    if not victim.startswith("sessions of "):
        pid = callers.system.pids()[victim]
        os.kill(pid, signal.SIGKILL)
        await callers.system.wait_for_successor(victim, pid)
        return
    role = f"headgate_{victim.removeprefix('sessions of ')}"
    async with books(callers.system) as connection:
        assert await connection.fetchval(KILL_WRITER, role) > 0


async def call_without_pause(callers: Callers, stop: asyncio.Event) -> None:
    number = 0
    while not stop.is_set():
        decision = await callers.admit()
        number += 1
        if decision.HasField("admission") and number % FORGOTTEN_EVERY:
            await callers.complete(decision.admission)


async def wait_for_bookings(callers: Callers, count: int) -> None:
    goal = len(callers.promises.booked) + count
    async with asyncio.timeout(60), callers.progress:
        await callers.progress.wait_for(lambda: len(callers.promises.booked) >= goal)


async def wait_until_nothing_is_held(callers: Callers, connection: Connection) -> None:
    query = "SELECT count(*) FROM reservation WHERE org = $1"
    async with asyncio.timeout(HEAL_SECONDS):
        while await connection.fetchval(query, callers.org):
            assert await find_differences(connection) == []
            await asyncio.sleep(0.1)


async def fetch_ids(connection: Connection, query: str, org: str) -> dict[str, int]:
    rows = await connection.fetch(query, org)
    return {str(row[0]): int(row[1]) for row in rows}


@pytest.mark.parametrize(
    "victim",
    [
        "gateway-0",
        "admission-0",
        "accounting-0",
        "sessions of admission",
        "sessions of accounting",
    ],
)
async def test_nothing_acknowledged_is_lost(callers: Callers, victim: str) -> None:
    await callers.cap(10**12)
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENT_COUNT):
            group.create_task(call_without_pause(callers, stop))
        await wait_for_bookings(callers, CALLS_BETWEEN)
        await kill(callers, victim)
        await wait_for_bookings(callers, CALLS_BETWEEN)
        stop.set()

    async with books(callers.system) as connection:
        await wait_until_nothing_is_held(callers, connection)
        await assert_books_close(callers, connection)


async def assert_books_close(callers: Callers, connection: Connection) -> None:
    """Every promise is in the books, and log, rollups and counters say the same."""
    org, promises = callers.org, callers.promises
    logged = await fetch_ids(
        connection, "SELECT call_id, total_nanos FROM accounting.usage_log WHERE org = $1", org
    )
    assert logged.items() >= {
        (call_id, receipt.total_nanos) for call_id, receipt in promises.booked.items()
    }
    assert set(logged.values()) == {USED_NANOS}
    ended = await fetch_ids(
        connection, "SELECT call_id, settled_nanos FROM ended_reservation WHERE org = $1", org
    )
    assert ended.keys() >= promises.admitted.keys() | logged.keys()
    assert {uuid.UUID(call_id).version for call_id in ended} == {7}
    rolled_up = "SELECT sum(cost_nanos)::bigint FROM accounting.rollup_org_day WHERE org = $1"
    assert await connection.fetchval(rolled_up, org) == sum(logged.values())
    await wait_until_counted(callers, connection, sum(logged.values()))
    assert await find_differences(connection) == []


async def wait_until_counted(callers: Callers, connection: Connection, logged: int) -> None:
    """Returns when the org's day has settled what is logged and what was never reported.

    The feed brings what the crash kept from the fast path.
    """
    async with asyncio.timeout(HEAL_SECONDS):
        while True:
            (row,) = await connection.fetch(SETTLED_AND_UNREPORTED, callers.org)
            if row["settled"] == logged + row["unreported"] * HELD_NANOS:
                return
            await asyncio.sleep(0.1)
