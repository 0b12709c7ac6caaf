"""Attempts every delivery that is due. The servers do so all the time; this is the safety net."""

from __future__ import annotations

from typing import Final

import grpc
import structlog
from opentelemetry.metrics import NoOpMeter

from chassis.process import JobError
from services.accounting.alerting import open_alerting
from services.accounting.config import AccountingSettings
from services.accounting.connections import open_accounting_pool

_NAME: Final = "accounting-deliver-notifications"

log = structlog.get_logger()


async def deliver_notifications(settings: AccountingSettings) -> None:
    """Returns when nothing is due any more. What fails is due again later. Raises JobError."""
    async with (
        open_accounting_pool(settings, name=_NAME) as pool,
        open_alerting(settings, pool, NoOpMeter(_NAME)) as alerting,
    ):
        try:
            await alerting.gate.refresh()
        except grpc.aio.AioRpcError as error:
            # The servers know whether notifications are off; they deliver meanwhile.
            reason = error.code().name
            raise JobError(f"health did not say whether notifications are off: {reason}") from None
        attempt_count = await alerting.dispatcher.deliver_due()
    log.info("notifications_delivered", attempt_count=attempt_count)
