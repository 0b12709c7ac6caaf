"""Parts die or are replaced under load; no client sees an error, and nothing is lost."""

from __future__ import annotations

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
    async with system.client("demo-initech") as client, calling(client, callers=16) as record:
        for kind in ("gateway", "admission"):
            await record.wait_for_receipts(50)
            await replace(system, kind, number)
        await record.wait_for_receipts(50)

    assert_nothing_went_wrong(record)


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
        process.kill()
    psutil.wait_procs(family, timeout=30)
