"""The demo on the real services, all in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from gateway.jobs.bootstrap import bootstrap
from headgate.api.common.v1 import limit_pb2
from headgate.channel import open_channel
from local.demo import operator as operators
from local.demo import rest, stage
from local.demo.endpoints import Endpoints
from local.demo.operator import Operator
from local.demo.reconciliation import Ending
from local.demo.run import CLOSING, Demo, Options
from local.demo.screen import Picture
from local.demo.stage import ORGS
from local.demo.tally import Tally
from local.errors import LocalError
from tests.integration.gateway.system import (
    ADMIN_KEY,
    NOWHERE,
    System,
    build_system,
    gateway_settings,
)
from tests.postgres import Clone

KEYS = {org: f"hg_{org}_" + "D" * 43 for org in ORGS}
TODAY = datetime.now(UTC).date()
QUICK = Options(seconds=6, rate=15, speed=4, look_seconds=0.5)


async def build_demo_system(url: str) -> None:
    await build_system(url)
    keys = ",".join(f"{org}={key}" for org, key in KEYS.items())
    await bootstrap(gateway_settings(url, bootstrap_api_keys=keys))


@pytest_asyncio.fixture
async def system(clone: Clone) -> AsyncIterator[System]:
    system = System(await clone("demo_system", build_demo_system))
    try:
        for name in ("accounting", "admission"):
            await system.start(name)
        await system.start("health", open_seconds=1.0)
        await system.start("gateway")
        yield system
    finally:
        await system.close()


def make_demo(gateway: str, folder: Path) -> Demo:
    return Demo(
        endpoints=Endpoints(gateways=(gateway,), api_keys=KEYS, admin_key=ADMIN_KEY),
        options=QUICK,
        folder=folder,
        picture=Picture(tally=Tally()),
    )


async def test_the_demo_reconciles_to_the_nano_dollar(system: System, tmp_path: Path) -> None:
    demo = make_demo(system.addresses["gateway"], tmp_path)
    children = set(psutil.Process().children())

    outcome = await demo.run()
    calls = {line.ending: line.call_count for line in outcome.statement.lines}

    assert list(outcome.failures()) == []
    assert [act.name for act in outcome.acts] == ["orphans", "limit", "kill switch", "breaker"]
    assert outcome.statement.billed_nanos > 0
    assert calls[Ending.REPORTED] > 0
    assert calls[Ending.CANCELLED] > 0
    assert calls[Ending.UNREPORTED] >= 4
    # The cap is gone, nothing is stopped, and no process is left behind.
    assert await read_caps(system) == []
    assert demo.picture.kill_message == ""
    assert set(psutil.Process().children()) == children


async def test_a_counter_that_is_off_by_one_nano_fails_the_demo(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rest, "AGREEMENT_SECONDS_MAX", 2.0)
    demo = make_demo(system.addresses["gateway"], tmp_path)

    running = asyncio.create_task(demo.run())
    while demo.picture.phase != CLOSING:  # noqa: ASYNC110 - the picture is only looked at
        await asyncio.sleep(0.05)
    await system.fetch(
        "admission",
        "UPDATE counter SET settled = settled + 1"
        " WHERE org = 'demo-acme' AND metric = 2 AND period = 1 RETURNING 1",
    )
    failures = list((await running).failures())

    assert len(failures) == 1
    assert failures[0].startswith("counter of demo-acme, day of ")


async def test_what_a_killed_demo_left_is_cleared_before_the_next_one(system: System) -> None:
    async with open_channel(system.addresses["gateway"], insecure=True) as channel:
        operator = Operator(channel, admin_key=ADMIN_KEY)
        books = await operator.read_books(start=TODAY)
        await stage.set_cap(operator, books, room_nanos=5)
        await operator.kill(stage.KILL_REASON)
        await seen_stopped(operator, stopped=True)

        await stage.set_up(operator)
        await seen_stopped(operator, stopped=False)

    assert await read_caps(system) == []


async def test_calls_that_somebody_else_stopped_stay_stopped(system: System) -> None:
    async with open_channel(system.addresses["gateway"], insecure=True) as channel:
        operator = Operator(channel, admin_key=ADMIN_KEY)
        await operator.kill("a real emergency")
        await seen_stopped(operator, stopped=True)

        with pytest.raises(LocalError, match="a real emergency"):
            await stage.set_up(operator)
        assert (await operator.get_status()).kills[0].reason == "a real emergency"


async def test_a_limit_in_the_place_of_the_cap_is_named(system: System) -> None:
    async with open_channel(system.addresses["gateway"], insecure=True) as channel:
        operator = Operator(channel, admin_key=ADMIN_KEY)
        books = await operator.read_books(start=TODAY)
        own = limit_pb2.Limit(
            limit_id="finance-wants-it",
            scope={"org": stage.CAPPED_ORG},
            metric=limit_pb2.METRIC_COST,
            calendar=limit_pb2.CalendarWindow(period=limit_pb2.CALENDAR_PERIOD_MONTH),
            cap=10**12,
        )
        await operator.put_limit(own)

        with pytest.raises(LocalError, match="delete that limit"):
            await stage.set_cap(operator, books, room_nanos=5)


async def test_setting_the_stage_twice_writes_nothing_new(system: System) -> None:
    async with open_channel(system.addresses["gateway"], insecure=True) as channel:
        operator = Operator(channel, admin_key=ADMIN_KEY)
        await stage.set_up(operator)
        versions = await system.fetch("accounting", "SELECT max(version) FROM price_book")
        await stage.set_up(operator)

    assert await system.fetch("accounting", "SELECT max(version) FROM price_book") == versions


async def test_without_an_answer_the_demo_says_what_to_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operators, "ANSWER_SECONDS_MAX", 0.2)

    with pytest.raises(LocalError, match="is `make up` still running"):
        await make_demo(NOWHERE, tmp_path).run()


async def read_caps(system: System) -> list[Any]:
    return await system.fetch("admission", "SELECT 1 FROM limit_rule WHERE limit_id = 'demo-cap'")


async def seen_stopped(operator: Operator, *, stopped: bool) -> None:
    """Returns when the gateway knows whether calls are stopped."""
    async with asyncio.timeout(10):
        while bool((await operator.get_status()).kills) is not stopped:  # noqa: ASYNC110 - remote
            await asyncio.sleep(0.02)
