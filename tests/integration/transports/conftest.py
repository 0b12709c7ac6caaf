from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import headgate
from headgate.testing import API_KEY, FakeGateway, serve_gateway
from local.demo import stand_in
from local.demo.stand_in import StandInProcess

CANDIDATES = (("demo-openai", "gpt-4o-mini"), ("demo-anthropic", "claude-haiku"))


@pytest.fixture
async def gateway() -> AsyncIterator[FakeGateway]:
    async with serve_gateway() as fake:
        fake.ledger.routes = {"chat": CANDIDATES}
        yield fake


@pytest.fixture
async def client(gateway: FakeGateway) -> AsyncIterator[headgate.Client]:
    async with headgate.Client(gateway.target, api_key=API_KEY) as made:
        yield made


@pytest.fixture
async def providers(tmp_path: Path) -> AsyncIterator[StandInProcess]:
    async with stand_in.running(tmp_path / "bill.jsonl", speed=100) as process:
        yield process
