"""Two gateways and two admissions as processes, on one real Postgres."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.e2e import system as systems
from tests.e2e.system import System
from tests.guarantees.callers import Callers, prepare


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def system() -> AsyncIterator[System]:
    with systems.state_folder() as state:
        async with systems.running(state, gateways=2, admissions=2) as up:
            await prepare(up)
            yield up


@pytest_asyncio.fixture(loop_scope="package")
async def callers(system: System) -> AsyncIterator[Callers]:
    """Callers of an org that nobody used before, over all gateways."""
    async with Callers(system) as callers:
        yield callers
