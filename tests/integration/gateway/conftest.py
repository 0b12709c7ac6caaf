from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest_asyncio

from tests.integration.gateway.system import System, build_system
from tests.postgres import Clone


@pytest_asyncio.fixture
async def system(clone: Clone) -> AsyncIterator[System]:
    """All four services on a database of the test's own, with two orgs, an admin and routes."""
    url = await clone("system", build_system)
    system = System(url)
    try:
        await system.start("accounting")
        await system.start("admission", sweep_interval_seconds=0.1, feed_interval_seconds=0.2)
        await system.start("health")
        await system.start("gateway")
        yield system
    finally:
        await system.close()


@pytest_asyncio.fixture
async def web(system: System) -> AsyncIterator[str]:
    """The address of a gateway's HTTP face."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = "{}:{}".format(*free.getsockname())
    await system.start("web", http_listen_address=address)
    yield f"http://{address}"
