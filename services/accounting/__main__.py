"""Wiring of accounting: builds its parts in order of dependency and starts them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from functools import partial
from typing import Final

from chassis.changes import add_changes
from chassis.process import Deployable, Process, run
from chassis.server import ServiceTokenAuthenticator
from headgate.api.accounting.v1 import accounting_pb2_grpc
from services.accounting.alerting import open_alerting
from services.accounting.bookkeeping import add_books
from services.accounting.config import AccountingSettings
from services.accounting.connections import connect, open_accounting_pool
from services.accounting.feedback import Feedback
from services.accounting.imports import import_catalogue
from services.accounting.jobs.aggregate_usage import aggregate_usage
from services.accounting.jobs.check_alerts import check_alerts
from services.accounting.jobs.close_spend_day import close_spend_day
from services.accounting.jobs.create_partitions import create_partitions
from services.accounting.jobs.deliver_notifications import deliver_notifications
from services.accounting.jobs.drop_partitions import drop_partitions
from services.accounting.jobs.import_prices import import_prices
from services.accounting.jobs.prune_events import prune_events
from services.accounting.jobs.reconcile_bill import reconcile_bill
from services.accounting.ledger import Ledger
from services.accounting.partitions import ensure_coming_days
from services.accounting.price_store import PriceStore
from services.accounting.prices import Prices
from services.accounting.queries import QUERIES, SCHEMA, SQL
from services.accounting.servicer import AccountingServicer
from services.accounting.store import LogWriter, UsageStore
from services.accounting.summaries import Summaries

SERVICE_NAME: Final = "headgate.api.accounting.v1.AccountingService"


@asynccontextmanager
async def serve(settings: AccountingSettings, process: Process) -> AsyncIterator[None]:
    """Builds the servicer and the follower of the price book; seeds a new database."""
    async with open_accounting_pool(settings, name=SCHEMA) as pool:
        async with pool.acquire() as connection:
            await ensure_coming_days(connection)
        store = UsageStore(pool)
        price_store = PriceStore(pool)
        if not await price_store.fetch_version():
            await import_catalogue(pool)
        prices = Prices(price_store)
        await prices.refresh()
        writer = LogWriter(partial(connect, settings, name="accounting-writer"))
        ledger = Ledger(writer=writer, prices=prices, metrics=process.telemetry.meter)
        async with (
            aclosing(ledger),
            open_alerting(settings, pool, process.telemetry.meter) as alerting,
        ):
            process.server.add_readiness("database", store.check)
            process.server.add(
                accounting_pb2_grpc.add_AccountingServiceServicer_to_server,
                AccountingServicer(
                    ledger=ledger,
                    prices=prices,
                    store=store,
                    summaries=Summaries(pool),
                    feedback=Feedback(pool),
                ),
                service_name=SERVICE_NAME,
                authenticate=ServiceTokenAuthenticator(settings.service_token),
            )
            alerting.add_to(process, settings, prices)
            add_books(process, settings, pool=pool, ledger=ledger, prices=prices)
            add_changes(process.server, settings, pool, QUERIES.find_changes.sql)
            process.spawn("prices", prices.follow())
            yield


DEPLOYABLE: Final = Deployable(
    name=SCHEMA,
    settings=AccountingSettings,
    migrations=SQL / "migrations",
    serve=serve,
    jobs={
        "check-alerts": check_alerts,
        "close-spend-day": close_spend_day,
        "create-partitions": create_partitions,
        "deliver-notifications": deliver_notifications,
        "drop-partitions": drop_partitions,
        "import-prices": import_prices,
        "prune-events": prune_events,
        "reconcile-bill": reconcile_bill,
        "aggregate-usage": aggregate_usage,
    },
)

if __name__ == "__main__":
    run(DEPLOYABLE)
