"""The parts of accounting that tell people: alerts, events, channels and their delivery."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

import grpc
from opentelemetry.metrics import Meter

from chassis.database import Pool
from chassis.peers import open_channel
from chassis.process import Process
from chassis.server import ServiceTokenAuthenticator
from headgate.api.accounting.v1 import (
    alerts_pb2_grpc,
    channels_pb2_grpc,
    events_pb2_grpc,
    forecasts_pb2_grpc,
    policies_pb2_grpc,
)
from headgate.api.admission.v1 import admission_pb2_grpc
from headgate.api.health.v1 import health_pb2_grpc
from services.accounting.alerts.crossings import CrossingFeed
from services.accounting.alerts.denials import DeniedBudgets
from services.accounting.alerts.faults import UsageFaults
from services.accounting.alerts.feed_servicer import EventFeedServicer
from services.accounting.alerts.fitness import Fitness
from services.accounting.alerts.servicer import AlertServicer
from services.accounting.alerts.store import AlertStore
from services.accounting.alerts.watch import Watch
from services.accounting.config import AccountingSettings
from services.accounting.delivery.channels import Channels
from services.accounting.delivery.desk import Desk
from services.accounting.delivery.dispatcher import Dispatcher
from services.accounting.delivery.gate import Gate
from services.accounting.delivery.notifications import Notifications
from services.accounting.delivery.servicer import ChannelServicer
from services.accounting.delivery.webhooks import Webhooks
from services.accounting.forecasts.budgets import Budgets
from services.accounting.forecasts.servicer import ForecastServicer
from services.accounting.forecasts.store import SpendingStore
from services.accounting.policies.servicer import PolicyServicer
from services.accounting.policies.sets import Policies
from services.accounting.prices import Prices

ALERT_SERVICE: Final = "headgate.api.accounting.v1.AlertService"
EVENT_FEED_SERVICE: Final = "headgate.api.accounting.v1.EventFeedService"
CHANNEL_SERVICE: Final = "headgate.api.accounting.v1.ChannelService"
FORECAST_SERVICE: Final = "headgate.api.accounting.v1.ForecastService"
POLICY_SERVICE: Final = "headgate.api.accounting.v1.PolicyService"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alerting:
    """What the servicers and loops share."""

    pool: Pool
    store: AlertStore
    feed: EventFeedServicer
    watch: Watch
    gate: Gate
    dispatcher: Dispatcher
    desk: Desk
    spending: SpendingStore
    budgets: Budgets

    def add_to(self, process: Process, settings: AccountingSettings, prices: Prices) -> None:
        """Adds the servicers, and the loops that look and deliver."""
        authenticate = ServiceTokenAuthenticator(settings.service_token)
        process.server.add(
            alerts_pb2_grpc.add_AlertServiceServicer_to_server,
            AlertServicer(self.store),
            service_name=ALERT_SERVICE,
            authenticate=authenticate,
        )
        process.server.add(
            events_pb2_grpc.add_EventFeedServiceServicer_to_server,
            self.feed,
            service_name=EVENT_FEED_SERVICE,
            authenticate=authenticate,
        )
        process.server.add(
            channels_pb2_grpc.add_ChannelServiceServicer_to_server,
            ChannelServicer(self.desk),
            service_name=CHANNEL_SERVICE,
            authenticate=authenticate,
        )
        process.server.add(
            forecasts_pb2_grpc.add_ForecastServiceServicer_to_server,
            ForecastServicer(store=self.spending, budgets=self.budgets, prices=prices),
            service_name=FORECAST_SERVICE,
            authenticate=authenticate,
        )
        process.server.add(
            policies_pb2_grpc.add_PolicyServiceServicer_to_server,
            PolicyServicer(Policies(pool=self.pool, prices=prices, desk=self.desk)),
            service_name=POLICY_SERVICE,
            authenticate=authenticate,
        )
        process.spawn("alerts", self.watch.run())
        process.spawn("gate", self.gate.run())
        process.spawn("deliveries", self.dispatcher.run())


@asynccontextmanager
async def open_alerting(
    settings: AccountingSettings, pool: Pool, metrics: Meter
) -> AsyncIterator[Alerting]:
    """Builds the parts on a pool, with channels to the peers that the settings name."""
    async with AsyncExitStack() as stack:

        async def connect(addresses: tuple[str, ...]) -> grpc.aio.Channel | None:
            if not addresses:
                return None
            return await stack.enter_async_context(open_channel(addresses, settings))

        yield build_alerting(
            settings,
            pool,
            metrics,
            admission=await connect(settings.admission_addresses),
            health=await connect(settings.health_addresses),
        )


def build_alerting(
    settings: AccountingSettings,
    pool: Pool,
    metrics: Meter,
    *,
    admission: grpc.aio.Channel | None = None,
    health: grpc.aio.Channel | None = None,
) -> Alerting:
    """Builds the parts on a pool. Without a channel to a peer nobody asks it."""
    vault, networks = settings.vault(), settings.networks()
    webhooks, notifications = Webhooks(networks), Notifications(networks)
    gate = Gate(None if health is None else health_pb2_grpc.HealthServiceStub(health).ListToggles)
    dispatcher = Dispatcher(
        pool=pool,
        vault=vault,
        webhooks=webhooks,
        notifications=notifications,
        metrics=metrics,
        opening=lambda: gate.opening,
    )
    desk = Desk(
        pool=pool,
        channels=Channels(pool, vault),
        dispatcher=dispatcher,
        webhooks=webhooks,
        notifications=notifications,
    )
    spending = SpendingStore(pool)
    stub = None if admission is None else admission_pb2_grpc.AdmissionServiceStub(admission)
    return Alerting(
        pool=pool,
        store=AlertStore(pool),
        feed=EventFeedServicer(pool),
        watch=_build_watch(pool, admission, health),
        gate=gate,
        dispatcher=dispatcher,
        desk=desk,
        spending=spending,
        budgets=Budgets(pool, spending, stub),
    )


def _build_watch(
    pool: Pool, admission: grpc.aio.Channel | None, health: grpc.aio.Channel | None
) -> Watch:
    crossings, denials, fitness = None, None, None
    if admission is not None:
        stub = admission_pb2_grpc.AdmissionServiceStub(admission)
        crossings = CrossingFeed(pool, stub.ListCrossings)
        denials = DeniedBudgets(pool, stub)
    if health is not None:
        fitness = Fitness(pool, health_pb2_grpc.HealthServiceStub(health).GetHealth)
    return Watch(
        pool=pool,
        faults=UsageFaults(pool),
        crossings=crossings,
        denials=denials,
        fitness=fitness,
    )
