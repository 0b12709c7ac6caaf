"""The real gateway, with the real services behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.integration.gateway.system import System, build_system
from tests.postgres import cloning


@asynccontextmanager
async def running_system(postgres_url: str, config: pytest.Config) -> AsyncIterator[System]:
    """All four services on one real database."""
    async with cloning(postgres_url, config) as clone:
        system = System(await clone("system", build_system))
        try:
            for name in ("accounting", "admission", "health", "gateway"):
                await system.start(name)
            yield system
        finally:
            await system.close()
