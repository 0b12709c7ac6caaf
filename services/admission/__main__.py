"""Wiring of admission: builds its parts in order of dependency and starts them."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, TypeAlias

from chassis.changes import add_changes
from chassis.peers import open_channel
from chassis.process import Deployable, Process, run
from chassis.server import ServiceTokenAuthenticator
from headgate.api.accounting.v1 import accounting_pb2_grpc
from headgate.api.admission.v1 import admission_pb2_grpc
from services.admission.auditor import read_results
from services.admission.books import Books
from services.admission.config import AdmissionSettings
from services.admission.engine import SCHEMA, Engine, open_engine
from services.admission.explanations import Explanations
from services.admission.feed import SettlementFeed
from services.admission.jobs.audit import audit
from services.admission.jobs.roll_windows import roll_windows
from services.admission.jobs.sweep import sweep_once
from services.admission.loops import repeat
from services.admission.metrics import Metrics
from services.admission.policy import Policy
from services.admission.queries import SQL
from services.admission.records import Records
from services.admission.servicer import AdmissionServicer
from services.admission.simulations import Simulations
from services.admission.sweeper import sweep

# Statistics and records may be a little old.
SHARES_SECONDS: Final = 5.0
VIOLATIONS_SECONDS: Final = 1.0
AUDITS_SECONDS: Final = 30.0
AccountingStub: TypeAlias = "accounting_pb2_grpc.AccountingServiceAsyncStub"
SERVICE_NAME: Final = "headgate.api.admission.v1.AdmissionService"


@asynccontextmanager
async def serve(settings: AdmissionSettings, process: Process) -> AsyncIterator[None]:
    """Builds the servicer, the sweeper and the reader of the settlement feed."""
    metrics = Metrics(process.telemetry.meter)
    async with (
        open_engine(settings, name="admission", metrics=metrics) as engine,
        open_channel(settings.accounting_addresses, settings) as channel,
    ):
        accounting = accounting_pb2_grpc.AccountingServiceStub(channel)
        _add_servicer(settings, process, engine, accounting)
        feed = SettlementFeed(
            pool=engine.pool,
            list_settlements=accounting.ListSettlements,
            reservations=engine.reservations,
            reader=f"{socket.gethostname()}-{os.getpid()}",
        )

        async def pull() -> None:
            metrics.record_feed(await feed.pull())

        async def end_expired() -> None:
            metrics.record_sweep(await sweep(engine.pool, engine.reservations))

        async def read_audits() -> None:
            metrics.record_audits(await read_results(engine.pool))

        process.spawn("audits", repeat("audits", read_audits, AUDITS_SECONDS))
        process.spawn("shares", repeat("shares", engine.shares.exchange, SHARES_SECONDS))
        process.spawn(
            "violations", repeat("violations", engine.violations.flush, VIOLATIONS_SECONDS)
        )
        process.spawn("feed", repeat("feed", pull, settings.feed_interval_seconds))
        process.spawn("sweep", repeat("sweep", end_expired, settings.sweep_interval_seconds))
        yield


def _add_servicer(
    settings: AdmissionSettings, process: Process, engine: Engine, accounting: AccountingStub
) -> None:
    async def check_database() -> None:
        await engine.pool.execute("SELECT 1")

    process.server.add_readiness("database", check_database)
    add_changes(process.server, settings, engine.pool)
    books, records = Books(engine.pool, engine.copy), Records(engine.pool)
    process.server.add(
        admission_pb2_grpc.add_AdmissionServiceServicer_to_server,
        AdmissionServicer(
            reservations=engine.reservations,
            policy=Policy(engine.pool),
            copy=engine.copy,
            books=books,
            records=records,
            explanations=Explanations(policy=engine.copy, books=books, shares=engine.shares),
            simulations=Simulations(replay_usage=accounting.ReplayUsage, records=records),
        ),
        service_name=SERVICE_NAME,
        authenticate=ServiceTokenAuthenticator(settings.service_token),
    )


DEPLOYABLE: Final = Deployable(
    name=SCHEMA,
    settings=AdmissionSettings,
    migrations=SQL / "migrations",
    serve=serve,
    jobs={"sweep": sweep_once, "audit": audit, "roll-windows": roll_windows},
)

if __name__ == "__main__":
    run(DEPLOYABLE)
