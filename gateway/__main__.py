"""Wiring of the gateway: builds its parts in order of dependency and starts them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from chassis import database, notifications
from chassis.peers import open_channel
from chassis.process import Deployable, Process, run
from gateway.config import GatewaySettings
from gateway.jobs.bootstrap import bootstrap
from gateway.parts import Parts
from gateway.peers import Accounting, Admission, Health
from gateway.staff.sessions import Lifetimes
from gateway.store import MIGRATIONS_DIRECTORY, SCHEMA, Store


@asynccontextmanager
async def serve(settings: GatewaySettings, process: Process) -> AsyncIterator[None]:
    """Builds both servicers and the copies of routes, prices, keys and health that they read."""
    async with (
        await database.open_pool(
            settings.database_url,
            application_name="gateway",
            schema=SCHEMA,
            size=settings.database_pool_size,
            statement_cache_size=settings.database_statement_cache_size,
        ) as pool,
        open_channel(settings.admission_addresses, settings) as admission_channel,
        open_channel(settings.accounting_addresses, settings) as accounting_channel,
        open_channel(settings.health_addresses, settings) as health_channel,
    ):
        parts = Parts(
            store=Store(pool),
            admission=Admission(admission_channel),
            accounting=Accounting(accounting_channel),
            health=Health(health_channel),
            lifetimes=Lifetimes(
                idle_seconds=settings.session_idle_seconds,
                session_seconds=settings.session_seconds,
            ),
            listen=notifications.listener(settings, schema=SCHEMA),
        )
        await parts.load()
        parts.add_to(process, settings)
        await parts.hear_health()
        yield


DEPLOYABLE: Final = Deployable(
    name=SCHEMA,
    settings=GatewaySettings,
    migrations=MIGRATIONS_DIRECTORY,
    serve=serve,
    jobs={"bootstrap": bootstrap},
)

if __name__ == "__main__":
    run(DEPLOYABLE)
