from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from services.health.store import SCHEMA, Store
from tests.integration.health.admission import StandIn, serve_admission
from tests.integration.health.replicas import open_store
from tests.postgres import Clone
from tests.schemas import build_schemas


@pytest.fixture
async def url(clone: Clone) -> str:
    """The superuser's URL of a database with health's schema, fresh for the test."""

    async def build(empty: str) -> None:
        await build_schemas(empty, SCHEMA)

    return await clone(SCHEMA, build)


@pytest.fixture
async def store(url: str) -> AsyncIterator[Store]:
    async with open_store(url) as opened:
        yield opened


@pytest.fixture
async def other_store(url: str) -> AsyncIterator[Store]:
    """What another replica has."""
    async with open_store(url) as opened:
        yield opened


@pytest.fixture
def stand_in() -> StandIn:
    return StandIn()  # type: ignore[abstract]  # serves one method of many


@pytest.fixture
async def admission(stand_in: StandIn) -> AsyncIterator[str]:
    """The address of the stand-in for admission, served."""
    async with serve_admission(stand_in) as address:
        yield address


@pytest.fixture
def _never_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.health.watchers.STALE_SECONDS", 3600.0)
