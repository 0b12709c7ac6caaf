"""Conditions and channels of tests, and short ways to notice and to read."""

from __future__ import annotations

from typing import Any, Final

import asyncpg
from opentelemetry.metrics import NoOpMeter

from chassis.database import Connection, Pool
from services.accounting.alerting import Alerting, build_alerting
from services.accounting.alerts.register import notice
from services.accounting.config import AccountingSettings
from services.accounting.delivery.channels import Channel, ChannelKind
from services.accounting.domain.alerts import AlertAction, Condition
from services.accounting.domain.event_types import Severity
from services.accounting.domain.events import Event

EVENTS: Final = "SELECT * FROM event ORDER BY event_number"
ALERTS: Final = "SELECT * FROM alert ORDER BY alert_id"
DELIVERIES: Final = "SELECT * FROM delivery ORDER BY delivery_id"


def condition(
    key: str = "kill/platform",
    *,
    org: str = "",
    severity: Severity | None = None,
    once: bool = False,
) -> Condition:
    return Condition(
        key=key,
        once=once,
        event=Event(
            type="kill.lifted",
            org=org,
            subject="kill/platform",
            title="Calls pass again",
            data={"kill_id": "platform"},
            severity=severity,
        ),
    )


async def tell(database: Connection | Pool, wanted: Condition) -> AlertAction | None:
    """Notices a condition in a transaction of its own."""
    if isinstance(database, asyncpg.Connection):
        async with database.transaction():
            return await notice(database, wanted)
    async with database.acquire() as connection, connection.transaction():
        return await notice(connection, wanted)


def build(settings: AccountingSettings, pool: Pool) -> Alerting:
    return build_alerting(settings, pool, NoOpMeter("tests"))


def channel(name: str = "oncall", **changes: Any) -> Channel:
    fields: dict[str, Any] = {
        "org": "",
        "channel_id": name,
        "kind": ChannelKind.WEBHOOK,
        "shown_url": "",
        "types": (),
        "severity_min": Severity.INFO,
        "quiet": None,
        "paused": False,
    }
    return Channel(**fields | changes)
