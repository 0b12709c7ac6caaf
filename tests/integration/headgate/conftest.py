from __future__ import annotations

import logging
from collections.abc import AsyncIterator

import pytest

import headgate
from headgate.testing import API_KEY, FakeGateway, serve_gateway


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    async with serve_gateway() as fake:
        yield fake


@pytest.fixture
async def client(gateway: FakeGateway) -> AsyncIterator[headgate.Client]:
    async with headgate.Client(gateway.target, api_key=API_KEY) as made:
        yield made


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What the client logs, whatever a server in this process made of the loggers."""
    caplog.set_level(logging.WARNING, "headgate")
    return caplog
