"""Looks for all that is wrong. The servers do so all the time; this is the safety net, and it
looks at what takes a whole day to tell.
"""

from __future__ import annotations

from typing import Final

import grpc
import structlog
from opentelemetry.metrics import NoOpMeter

from chassis.process import JobError
from services.accounting.alerting import open_alerting
from services.accounting.alerts.anomalies import look_for_anomalies
from services.accounting.config import AccountingSettings
from services.accounting.connections import open_accounting_pool

_NAME: Final = "accounting-check-alerts"

log = structlog.get_logger()


async def check_alerts(settings: AccountingSettings) -> None:
    """Looks at everything once. Raises JobError if something could not be looked at."""
    async with (
        open_accounting_pool(settings, name=_NAME) as pool,
        open_alerting(settings, pool, NoOpMeter(_NAME)) as alerting,
    ):
        failed = await alerting.watch.check()
        log.info("alerts_checking", done="feeds", failed=failed)
        anomaly_count = await look_for_anomalies(pool)
        log.info("alerts_checking", done="anomalies", anomaly_count=anomaly_count)
        try:
            high_count = await alerting.budgets.check()
        except grpc.aio.AioRpcError:
            failed.append("budgets")
            high_count = 0
    if failed:
        raise JobError(f"could not look at: {', '.join(failed)}")
    log.info("alerts_checked", anomaly_count=anomaly_count, high_forecast_count=high_count)
