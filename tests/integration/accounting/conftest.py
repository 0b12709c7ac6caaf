"""A migrated schema of accounting with a small price book, and replicas on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import asyncpg
import grpc
import pytest
import pytest_asyncio
from pydantic import SecretStr

from chassis.database import Connection, Pool, open_pool
from chassis.peers import open_channel
from headgate.api.accounting.v1.accounting_pb2_grpc import AccountingServiceStub
from services.accounting.config import AccountingSettings
from services.accounting.connections import open_accounting_pool
from services.accounting.price_store import PriceStore
from tests.integration.accounting.delivering import Office
from tests.integration.accounting.noticing import build as build_parts
from tests.integration.accounting.receivers import Receiver, receiving
from tests.integration.accounting.replicas import (
    Open,
    OpenConnection,
    Replica,
    Stub,
    open_replica,
    serving,
)
from tests.integration.accounting.samples import SAMPLE_BOOK
from tests.postgres import Clone
from tests.schemas import build_schemas, runtime_url

TOKEN = "t" * 32


async def build(url: str) -> None:
    await build_schemas(url, "accounting")
    pool = await open_pool(
        runtime_url(url, "accounting"), application_name="build", schema="accounting", size=1
    )
    async with pool:
        await PriceStore(pool).import_catalogue(SAMPLE_BOOK)


def settings_for(url: str) -> AccountingSettings:
    return AccountingSettings(
        listen_address="127.0.0.1:0",
        database_url=SecretStr(runtime_url(url, "accounting")),
        service_token=SecretStr(TOKEN),
        log_level="error",
        channel_keys=SecretStr("k1:" + "0f" * 32),
        delivery_networks=("127.0.0.1/32",),
    )


@pytest_asyncio.fixture
async def database_url(clone: Clone) -> str:
    """The superuser's URL of a database with accounting's schema and prices of two models."""
    return await clone("accounting", build)


@pytest.fixture
def settings(database_url: str) -> AccountingSettings:
    return settings_for(database_url)


@pytest_asyncio.fixture
async def connect(database_url: str) -> AsyncIterator[OpenConnection]:
    """Opens connections of the superuser, with accounting's tables in reach."""
    opened: list[Connection] = []

    async def open_one() -> Connection:
        connection = await asyncpg.connect(
            database_url, server_settings={"search_path": "accounting", "timezone": "UTC"}
        )
        opened.append(connection)
        return connection

    yield open_one
    for connection in opened:
        await connection.close()


@pytest_asyncio.fixture
async def admin(connect: OpenConnection) -> Connection:
    return await connect()


@pytest_asyncio.fixture
async def start(settings: AccountingSettings) -> AsyncIterator[Open]:
    """Starts replicas; they are closed after the test."""
    async with AsyncExitStack() as stack:

        async def open_one() -> Replica:
            return await stack.enter_async_context(open_replica(settings))

        yield open_one


@pytest_asyncio.fixture
async def replica(start: Open) -> Replica:
    return await start()


@pytest_asyncio.fixture
async def port(settings: AccountingSettings) -> AsyncIterator[int]:
    """The port of a real server."""
    async with serving(settings) as found:
        yield found


@pytest_asyncio.fixture
async def channel(port: int, settings: AccountingSettings) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to it that shows the service token."""
    async with open_channel((f"127.0.0.1:{port}",), settings) as found:
        yield found


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> Stub:
    """A client of it."""
    return AccountingServiceStub(channel)


@pytest_asyncio.fixture
async def pool(settings: AccountingSettings) -> AsyncIterator[Pool]:
    """Connections of the server's own role."""
    async with open_accounting_pool(settings, name="tests") as opened:
        yield opened


@pytest.fixture
def office(settings: AccountingSettings, pool: Pool, admin: Connection) -> Office:
    """Channels and their deliveries, without a server."""
    return Office(settings=settings, pool=pool, alerting=build_parts(settings, pool), admin=admin)


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A webhook receiver that does as it is told."""
    async with receiving() as opened:
        yield opened
