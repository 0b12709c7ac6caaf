"""Health's parts on a test database: stores, whole replicas, and ways to move its clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
import structlog
from pydantic import SecretStr

from chassis import database
from chassis.config import Addresses
from chassis.peers import open_channel
from chassis.process import Process
from chassis.server import Server
from chassis.telemetry import setup
from headgate.api.health.v1 import health_pb2_grpc
from services.health.__main__ import serve
from services.health.config import HealthSettings
from services.health.store import SCHEMA, Store
from tests.schemas import runtime_url

TOKEN: Final = "tests-only-service-token-of-health"
# Nobody listens there.
NOWHERE: Final[Addresses] = ("127.0.0.1:1",)


@dataclass(frozen=True)
class Replica:
    """A whole health, served in this process."""

    address: str
    stub: health_pb2_grpc.HealthServiceAsyncStub
    process: Process


def settings_of(url: str, *, admission: Addresses = NOWHERE, **changed: Any) -> HealthSettings:
    """Settings for the database whose superuser's URL is given."""
    return HealthSettings(
        listen_address="127.0.0.1:0",
        database_url=SecretStr(runtime_url(url, SCHEMA)),
        service_token=SecretStr(TOKEN),
        admission_addresses=admission,
        drain_seconds=2.0,
        **changed,
    )


@asynccontextmanager
async def open_store(url: str, *, size: int = 4) -> AsyncIterator[Store]:
    """A store on a pool of its own: what another replica would have."""
    async with await database.open_pool(
        runtime_url(url, SCHEMA), application_name="tests", schema=SCHEMA, size=size
    ) as pool:
        yield Store(pool)


@asynccontextmanager
async def serve_replica(settings: HealthSettings) -> AsyncIterator[Replica]:
    """Serves as the process does, wiring included; drains at the end."""
    with setup(settings, SCHEMA) as telemetry:
        process = Process(Server(settings, telemetry), telemetry, asyncio.Event())
        async with serve(settings, process):
            address = f"127.0.0.1:{await process.server.start()}"
            try:
                async with open_channel((address,), settings) as channel:
                    yield Replica(address, health_pb2_grpc.HealthServiceStub(channel), process)
            finally:
                await process.server.drain()
                await process.cancel_spawned()
    structlog.reset_defaults()


async def execute(url: str, statement: str, *arguments: object) -> str:
    """Runs a statement as the superuser, in health's schema."""
    connection = await asyncpg.connect(url, server_settings={"search_path": SCHEMA})
    try:
        return await connection.execute(statement, *arguments)
    finally:
        await connection.close()


async def fetch(url: str, statement: str, *arguments: object) -> list[dict[str, Any]]:
    """Reads rows as the superuser, in health's schema."""
    connection = await asyncpg.connect(url, server_settings={"search_path": SCHEMA})
    try:
        return [dict(row) for row in await connection.fetch(statement, *arguments)]
    finally:
        await connection.close()


async def end_open_time(url: str) -> None:
    """Lets the time of every open breaker have passed."""
    await execute(
        url, "UPDATE circuit SET open_until = now() - interval '1 s' WHERE state = 'open'"
    )


async def end_permits(url: str) -> None:
    """Lets the time of every probe's permit have passed."""
    await execute(url, "UPDATE circuit_permit SET expire_time = now() - interval '1 s'")
