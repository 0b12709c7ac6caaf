"""Wiring of health: builds its parts in order of dependency and starts them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from chassis import database, notifications
from chassis.changes import add_changes
from chassis.peers import open_channel
from chassis.process import Deployable, Process, run
from chassis.server import ServiceTokenAuthenticator
from headgate.api.health.v1 import health_pb2_grpc
from services.health.breakers import Breakers
from services.health.config import HealthSettings
from services.health.connections import SQL, load_sql
from services.health.jobs.prune_probes import prune_probes
from services.health.kills import Kills
from services.health.peers import AdmissionFences
from services.health.servicer import HealthServicer
from services.health.store import SCHEMA, Store
from services.health.tallies import Tallies
from services.health.toggles import Toggles
from services.health.watchers import Watchers

SERVICE_NAME: Final = "headgate.api.health.v1.HealthService"
STALE_COUNT: Final = "headgate_health_stale_outcomes"


@asynccontextmanager
async def serve(settings: HealthSettings, process: Process) -> AsyncIterator[None]:
    """Builds the servicer, the loop behind the kill switch and the one behind the streams."""
    stale = process.telemetry.meter.create_counter(
        STALE_COUNT, description="Outcomes dropped because they say nothing about their breaker."
    )
    async with (
        _open_store(settings) as store,
        open_channel(settings.admission_addresses, settings) as channel,
    ):
        kills = Kills(store, AdmissionFences(channel))
        toggles = Toggles(store)
        # A schema whose guardrails were changed is not served.
        await toggles.check_guardrails()
        watchers = Watchers(store, connect=notifications.listener(settings, schema=SCHEMA))
        tallies = Tallies(store, settings.breaker_rules())
        breakers = Breakers(
            store,
            settings.breaker_rules(),
            count_stale=stale.add,
            census=watchers,
            heard=tallies.count,
        )

        async def check_database() -> None:
            await store.read_version()

        process.server.add(
            health_pb2_grpc.add_HealthServiceServicer_to_server,
            HealthServicer(
                breakers=breakers,
                table=settings.table(),
                kills=kills,
                toggles=toggles,
                watchers=watchers,
                store=store,
            ),
            service_name=SERVICE_NAME,
            authenticate=ServiceTokenAuthenticator(settings.service_token),
        )
        add_changes(process.server, settings, store.pool, load_sql()["find_changes"])
        process.server.add_readiness("database", check_database)
        process.server.on_drain(breakers.close)
        process.spawn("watchers", watchers.run())
        process.spawn("kills", kills.run())
        process.spawn("tallies", tallies.run())
        yield


async def prune(settings: HealthSettings) -> None:
    """Runs the job `prune-probes`."""
    async with _open_store(settings) as store:
        await prune_probes(store)


@asynccontextmanager
async def _open_store(settings: HealthSettings) -> AsyncIterator[Store]:
    async with await database.open_pool(
        settings.database_url,
        application_name="headgate-health",
        schema=SCHEMA,
        size=settings.database_pool_size,
        statement_cache_size=settings.database_statement_cache_size,
    ) as pool:
        yield Store(pool)


DEPLOYABLE: Final = Deployable(
    name=SCHEMA,
    settings=HealthSettings,
    migrations=SQL / "migrations",
    serve=serve,
    jobs={"prune-probes": prune},
)

if __name__ == "__main__":
    run(DEPLOYABLE)
