"""Audits the books: every guarantee that can be seen in the database. Repairs nothing."""

from __future__ import annotations

import datetime as dt
from typing import Final

import structlog

from chassis.process import JobError
from services.admission.auditor import Audit, put_results
from services.admission.auditor import audit as audit_books
from services.admission.config import AdmissionSettings
from services.admission.engine import open_engine

log = structlog.get_logger()

# Sweeps that an expired hold may wait for before it counts as stuck, and a busy machine's delay.
GRACE_SWEEP_COUNT: Final = 3
GRACE: Final = dt.timedelta(seconds=30)


async def audit(settings: AdmissionSettings) -> None:
    """Logs what breaks a guarantee. Raises JobError if anything does."""
    sweeps = dt.timedelta(seconds=settings.sweep_interval_seconds) * GRACE_SWEEP_COUNT
    async with open_engine(settings, name="admission-audit") as engine:
        found = await audit_books(engine.pool, grace=GRACE + sweeps)
        await put_results(engine.pool, found)
    _log(found)
    broken = {number: count for number, count in found.counts().items() if count}
    if broken:
        told = ", ".join(f"{number}: {count} times" for number, count in broken.items())
        raise JobError(f"guarantees are broken: {told}")


def _log(found: Audit) -> None:
    for each in found.counters:
        log.error(
            "counter_differs",
            counter_id=str(each.counter_id),
            scope=each.scope,
            metric=each.metric.name,
            held=each.held,
            expected_held=each.expected_held,
            settled=each.settled,
            expected_settled=each.expected_settled,
        )
    for call in found.doubled_calls:
        log.error("call_twice", call=call)
    for call in found.overdue_calls:
        log.error("hold_overdue", call=call)
    for call in found.orphaned_calls:
        log.error("hold_without_counters", call=call)
    overrun = {metric.name.lower(): amount for metric, amount in found.overrun.items() if amount}
    log.info("audited", difference_count=sum(found.counts().values()), overrun=overrun)
