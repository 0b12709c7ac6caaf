"""Replicas of accounting in the test's process, and the real server with its real wiring."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

from opentelemetry.metrics import NoOpMeter

from chassis.database import Connection, Pool
from chassis.peers import open_channel
from chassis.process import Process
from chassis.server import Server
from chassis.telemetry import setup
from headgate.api.accounting.v1 import accounting_pb2_grpc as pb_grpc
from services.accounting.__main__ import serve
from services.accounting.config import AccountingSettings
from services.accounting.connections import connect, open_accounting_pool
from services.accounting.ledger import Ledger
from services.accounting.price_store import PriceStore
from services.accounting.prices import Prices
from services.accounting.store import LogWriter, UsageStore

Stub: TypeAlias = "pb_grpc.AccountingServiceAsyncStub"
Open = Callable[[], Coroutine[Any, Any, "Replica"]]
OpenConnection = Callable[[], Coroutine[Any, Any, Connection]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """What one process of accounting works with."""

    ledger: Ledger
    writer: LogWriter
    prices: Prices
    price_store: PriceStore
    store: UsageStore
    pool: Pool


@asynccontextmanager
async def open_replica(settings: AccountingSettings) -> AsyncIterator[Replica]:
    async with open_accounting_pool(settings, name="accounting") as pool:
        price_store = PriceStore(pool)
        prices = Prices(price_store)
        await prices.refresh()
        writer = LogWriter(partial(connect, settings, name="accounting-writer"))
        ledger = Ledger(writer=writer, prices=prices, metrics=NoOpMeter("tests"))
        yield Replica(
            ledger=ledger,
            writer=writer,
            prices=prices,
            price_store=price_store,
            store=UsageStore(pool),
            pool=pool,
        )
        await ledger.aclose()


@asynccontextmanager
async def serving(settings: AccountingSettings) -> AsyncIterator[int]:
    """The real wiring and server; yields its port."""
    with setup(settings, "accounting") as telemetry:
        process = Process(Server(settings, telemetry), telemetry, asyncio.Event())
        async with serve(settings, process):
            try:
                yield await process.server.start()
                await process.server.drain()
            finally:
                await process.cancel_spawned()


@asynccontextmanager
async def open_stub(port: int, settings: AccountingSettings) -> AsyncIterator[Stub]:
    """A client that shows the service token."""
    async with open_channel((f"127.0.0.1:{port}",), settings) as channel:
        yield pb_grpc.AccountingServiceStub(channel)


async def wait_for_older(database: Connection | Pool) -> None:
    """Returns when no older transaction runs, in other tests' databases either: the feed waits."""
    newest = await database.fetchval("SELECT pg_current_xact_id()::text")
    statement = "SELECT $1::text::xid8 < pg_snapshot_xmin(pg_current_snapshot())"
    while not await database.fetchval(statement, newest):  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0.005)
