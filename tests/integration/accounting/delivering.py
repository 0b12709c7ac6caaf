"""Accounting's channels and dispatchers, as tests drive them."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

import asyncpg
from opentelemetry.metrics import NoOpMeter

from chassis.database import Connection, Pool
from services.accounting.alerting import Alerting
from services.accounting.config import AccountingSettings
from services.accounting.delivery.channels import Channel, Key
from services.accounting.delivery.dispatcher import LEASE, Dispatcher
from services.accounting.delivery.gate import OPEN, Opening
from services.accounting.delivery.notifications import Notifications
from services.accounting.delivery.webhooks import Webhooks
from services.accounting.domain.alerts import Condition
from tests.integration.accounting.noticing import DELIVERIES, tell

WAITING: Final = 1
DELIVERED: Final = 2
DEAD: Final = 3
# A hang is told from an answer quickly.
PATIENCE_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Office:
    """Channels on a database of the test's own, and any number of dispatchers."""

    settings: AccountingSettings
    pool: Pool
    alerting: Alerting
    admin: Connection

    def dispatcher(
        self,
        *,
        opening: Opening = OPEN,
        lease: dt.timedelta = LEASE,
        patience_seconds: float = PATIENCE_SECONDS,
    ) -> Dispatcher:
        """One more replica's dispatcher."""
        return Dispatcher(
            pool=self.pool,
            vault=self.settings.vault(),
            webhooks=Webhooks(self.settings.networks(), timeout_seconds=patience_seconds),
            notifications=Notifications(self.settings.networks()),
            metrics=NoOpMeter("tests"),
            opening=lambda: opening,
            lease=lease,
        )

    async def deliver(self) -> int:
        """Attempts all that is due, by a dispatcher of its own."""
        return await self.dispatcher().deliver_due()

    async def put(self, wanted: Channel, url: str, *, audit_id: str = "a1") -> str:
        """Writes a channel; returns the secret of a new one."""
        _, secret = await self.alerting.desk.put(wanted, url, audit_id=audit_id)
        return secret

    async def tell(self, wanted: Condition) -> None:
        """Notices a condition."""
        await tell(self.admin, wanted)

    async def replay(self, name: str) -> int:
        """Lets what is dead start anew."""
        return await self.alerting.desk.replay(Key(org="", channel_id=name), 0, audit_id="a")

    async def deliveries(self) -> list[asyncpg.Record]:
        """All deliveries, oldest first."""
        return list(await self.admin.fetch(DELIVERIES))

    async def states(self) -> list[int]:
        """Their states."""
        return [row["state"] for row in await self.deliveries()]

    async def make_due(self) -> None:
        """Ends all waits."""
        await self.admin.execute("UPDATE delivery SET due_time = now() WHERE state = 1")

    async def fetch(self, statement: str) -> Any:
        """Returns one value."""
        return await self.admin.fetchval(statement)
