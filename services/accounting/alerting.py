"""The parts of accounting that tell people: alerts, events, channels and their delivery."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from opentelemetry.metrics import Meter

from chassis.database import Pool
from chassis.process import Process
from chassis.server import ServiceTokenAuthenticator
from headgate.api.accounting.v1 import alerts_pb2_grpc, channels_pb2_grpc
from services.accounting.alerts.servicer import AlertServicer
from services.accounting.alerts.store import AlertStore
from services.accounting.config import AccountingSettings
from services.accounting.delivery.channels import Channels
from services.accounting.delivery.desk import Desk
from services.accounting.delivery.dispatcher import Dispatcher
from services.accounting.delivery.notifications import Notifications
from services.accounting.delivery.servicer import ChannelServicer
from services.accounting.delivery.webhooks import Webhooks

ALERT_SERVICE: Final = "headgate.api.accounting.v1.AlertService"
CHANNEL_SERVICE: Final = "headgate.api.accounting.v1.ChannelService"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alerting:
    """What the servicers and loops share."""

    store: AlertStore
    dispatcher: Dispatcher
    desk: Desk

    def add_to(self, process: Process, settings: AccountingSettings) -> None:
        """Adds the servicers, and the loop that delivers."""
        authenticate = ServiceTokenAuthenticator(settings.service_token)
        process.server.add(
            alerts_pb2_grpc.add_AlertServiceServicer_to_server,
            AlertServicer(self.store),
            service_name=ALERT_SERVICE,
            authenticate=authenticate,
        )
        process.server.add(
            channels_pb2_grpc.add_ChannelServiceServicer_to_server,
            ChannelServicer(self.desk),
            service_name=CHANNEL_SERVICE,
            authenticate=authenticate,
        )
        process.spawn("deliveries", self.dispatcher.run())


def build_alerting(settings: AccountingSettings, pool: Pool, metrics: Meter) -> Alerting:
    """Builds the parts on a pool."""
    vault, networks = settings.vault(), settings.networks()
    webhooks, notifications = Webhooks(networks), Notifications(networks)
    dispatcher = Dispatcher(
        pool=pool, vault=vault, webhooks=webhooks, notifications=notifications, metrics=metrics
    )
    desk = Desk(
        pool=pool,
        channels=Channels(pool, vault),
        dispatcher=dispatcher,
        webhooks=webhooks,
        notifications=notifications,
    )
    return Alerting(store=AlertStore(pool), dispatcher=dispatcher, desk=desk)
