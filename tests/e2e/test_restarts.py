"""Parts die or are replaced under load; no client sees an error, and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import psutil
import pytest

import headgate
from tests.e2e import system as systems
from tests.e2e.callers import Record, calling, make_call
from tests.e2e.system import System

COST_NANOS = 100 * 150 + 10 * 600


async def replace(system: System, kind: str, number: signal.Signals) -> None:
    """Ends one process of a kind and waits until its successor runs."""
    name, pid = next(
        (name, pid) for name, pid in sorted(system.pids().items()) if name.startswith(kind)
    )
    os.kill(pid, number)
    await system.wait_for_successor(name, pid)


async def booked(system: System, org: str, *, source: str = "rollup") -> tuple[int, int]:
    """Calls and nano-dollars of an org."""
    answer = await system.operate("usage", "--org", org, "--source", source)
    return (
        sum(int(row["call_count"]) for row in answer["rows"]),
        sum(int(row["cost_nanos"]) for row in answer["rows"]),
    )


async def assert_books_agree(system: System, org: str) -> None:
    """Log, rollups and counters are equal once the feed has brought what a crash held up."""
    calls, nanos = await booked(system, org)
    assert (calls, nanos) == await booked(system, org, source="log")
    expected = {"METRIC_CALLS": (0, calls), "METRIC_COST": (0, nanos)}
    async with asyncio.timeout(30):
        while await counted(system, org) != expected:
            pass  # Asking takes as long as a pause would.


async def counted(system: System, org: str) -> dict[str, tuple[int, int]]:
    """Held and settled of an org's counters of the day."""
    answer = await system.operate("counters", "--org", org)
    return {
        each["metric"]: (int(each["held"]), int(each["settled"]))
        for each in answer["counters"]
        if each["calendar"]["period"] == "CALENDAR_PERIOD_DAY"
    }


def assert_nothing_went_wrong(record: Record) -> None:
    assert record.errors == []
    assert record.denials == []
    ids = [receipt.call_id for receipt in record.receipts]
    assert len(ids) == len(set(ids))
    assert {receipt.total_nanos for receipt in record.receipts} == {COST_NANOS}


@pytest.mark.asyncio(loop_scope="package")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["term", "kill"])
async def test_no_client_notices_that_a_replica_is_replaced(
    system: System, number: signal.Signals
) -> None:
    before, _ = await booked(system, "demo-initech")
    async with system.client("demo-initech") as client, calling(client, callers=16) as record:
        for kind in ("gateway", "admission"):
            await record.wait_for_receipts(50)
            await replace(system, kind, number)
        await record.wait_for_receipts(50)

    assert_nothing_went_wrong(record)
    after, _ = await booked(system, "demo-initech")
    assert after - before == len(record.receipts)
    await assert_books_agree(system, "demo-initech")


@pytest.mark.asyncio(loop_scope="package")
async def test_no_client_notices_that_the_only_accounting_and_health_are_restarted(
    system: System,
) -> None:
    async with system.client("demo-acme") as client, calling(client, callers=8) as record:
        for kind in ("accounting", "health"):
            await record.wait_for_receipts(50)
            await replace(system, kind, signal.SIGKILL)
        await record.wait_for_receipts(50)

    assert_nothing_went_wrong(record)
    await assert_books_agree(system, "demo-acme")


async def test_what_was_booked_is_there_after_ctrl_c_and_after_the_death_of_all() -> None:
    with systems.state_folder() as state:
        async with systems.running(state) as first:
            keys = first.endpoints["api_keys"]
            async with first.client() as client:
                booked = (await make_call(client)).receipt
            children = [psutil.Process(pid) for pid in first.pids().values()]
            assert await first.stop() == 0
            assert [child for child in children if child.is_running()] == []
        assert booked is not None

        async with systems.running(state) as second:
            assert second.endpoints["api_keys"] == keys
            await assert_booked(second, booked)
            kill_all(second)

        async with systems.running(state) as third:
            await assert_booked(third, booked)


async def assert_booked(system: System, receipt: headgate.Receipt) -> None:
    (row,) = (await system.operate("usage", "--org", "demo-acme"))["rows"]
    assert (row["call_count"], row["cost_nanos"]) == ("1", str(receipt.total_nanos))


def kill_all(system: System) -> None:
    """Ends the supervisor and everything below it at once, without a word."""
    supervisor = psutil.Process(system.process.pid)
    family = [supervisor, *supervisor.children(recursive=True)]
    for process in family:
        # Children end by themselves when the supervisor is gone, some before it is their turn.
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(family, timeout=30)
