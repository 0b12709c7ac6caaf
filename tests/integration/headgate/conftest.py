from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

import headgate
from tests.fakes.gateway import API_KEY, FakeGateway, serve_gateway
from tests.integration.gateway.system import System, build_system
from tests.postgres import cloning


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    async with serve_gateway() as fake:
        yield fake


@pytest.fixture
async def client(gateway: FakeGateway) -> AsyncIterator[headgate.Client]:
    async with headgate.Client(gateway.target, api_key=API_KEY) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(postgres_url: str, pytestconfig: pytest.Config) -> AsyncIterator[System]:
    """The real thing: all four services on one real database, shared by a module's tests."""
    async with cloning(postgres_url, pytestconfig) as clone:
        system = System(await clone("system", build_system))
        try:
            for name in ("accounting", "admission", "health", "gateway"):
                await system.start(name)
            yield system
        finally:
            await system.close()
