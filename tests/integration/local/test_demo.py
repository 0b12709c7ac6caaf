"""The demo on the real services, all in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from gateway.jobs.bootstrap import bootstrap
from local.demo.endpoints import Endpoints
from local.demo.run import Demo, Options
from local.demo.screen import Picture
from local.demo.stage import ORGS
from local.demo.tally import Tally
from tests.integration.gateway.system import ADMIN_KEY, System, build_system, gateway_settings
from tests.postgres import Clone

KEYS = {org: f"hg_{org}_" + "D" * 43 for org in ORGS}


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


async def test_the_demo_reconciles_to_the_nano_dollar(system: System, tmp_path: Path) -> None:
    demo = Demo(
        endpoints=Endpoints(
            gateways=(system.addresses["gateway"],), api_keys=KEYS, admin_key=ADMIN_KEY
        ),
        options=Options(seconds=8, rate=15, speed=4, look_seconds=0.5),
        folder=tmp_path,
        picture=Picture(tally=Tally()),
    )

    outcome = await demo.run()

    assert list(outcome.failures()) == []
    assert outcome.statement.billed_nanos > 0
