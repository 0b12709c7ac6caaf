"""Attempts every delivery that is due. The servers do so all the time; this is the safety net."""

from __future__ import annotations

from typing import Final

import structlog
from opentelemetry.metrics import NoOpMeter

from services.accounting.alerting import build_alerting
from services.accounting.config import AccountingSettings
from services.accounting.connections import open_accounting_pool

_NAME: Final = "accounting-deliver-notifications"

log = structlog.get_logger()


async def deliver_notifications(settings: AccountingSettings) -> None:
    """Returns when nothing is due any more. What fails is due again later."""
    async with open_accounting_pool(settings, name=_NAME) as pool:
        alerting = build_alerting(settings, pool, NoOpMeter(_NAME))
        attempt_count = await alerting.dispatcher.deliver_due()
    log.info("notifications_delivered", attempt_count=attempt_count)
