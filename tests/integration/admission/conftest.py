"""A migrated schema of admission, and engines on it: each is what one replica runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import asyncpg
import grpc
import pytest
import pytest_asyncio
from pydantic import SecretStr

from chassis.database import Connection
from services.admission.__main__ import DEPLOYABLE
from services.admission.config import AdmissionSettings
from services.admission.engine import Engine, open_engine
from tests.integration.admission.replicas import Start
from tests.integration.admission.wire import TOKEN, Client
from tests.postgres import Clone
from tests.schemas import build_schemas, runtime_url
from tests.serving import running


async def build(url: str) -> None:
    await build_schemas(url, "admission")


@pytest_asyncio.fixture
async def database_url(clone: Clone) -> str:
    """The superuser's URL of a database with admission's schema and default limits."""
    return await clone("admission", build)


@pytest_asyncio.fixture
async def admin(database_url: str) -> AsyncIterator[Connection]:
    """The superuser, with admission's tables in reach."""
    connection = await asyncpg.connect(
        database_url, server_settings={"search_path": "admission", "timezone": "UTC"}
    )
    yield connection
    await connection.close()


@pytest.fixture
def settings(database_url: str) -> AdmissionSettings:
    return AdmissionSettings(
        listen_address="127.0.0.1:0",
        database_url=SecretStr(runtime_url(database_url, "admission")),
        service_token=SecretStr(TOKEN),
        accounting_addresses=("127.0.0.1:1",),
    )


@pytest_asyncio.fixture
async def start(settings: AdmissionSettings) -> AsyncIterator[Start]:
    """Starts replicas; they are closed after the test."""
    async with AsyncExitStack() as stack:

        async def open_one(name: str = "admission") -> Engine:
            return await stack.enter_async_context(open_engine(settings, name=name))

        yield open_one


@pytest_asyncio.fixture
async def engine(start: Start) -> Engine:
    return await start()


@pytest_asyncio.fixture
async def address(settings: AdmissionSettings) -> AsyncIterator[str]:
    async with running(DEPLOYABLE, settings) as address:
        yield address


@pytest_asyncio.fixture
async def call(address: str) -> AsyncIterator[Client]:
    async with grpc.aio.insecure_channel(address) as channel:
        yield Client(channel)
