"""Checks that every counter equals its reservations. Repairs nothing."""

from __future__ import annotations

import structlog

from chassis.process import JobError
from services.admission.books import Books
from services.admission.config import AdmissionSettings
from services.admission.engine import open_engine

log = structlog.get_logger()


async def audit(settings: AdmissionSettings) -> None:
    """Logs every counter that does not add up. Raises JobError if there is one."""
    async with open_engine(settings, name="admission-audit") as engine:
        found = await Books(engine.pool, engine.copy).audit()
    for each in found:
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
    if found:
        raise JobError(f"{len(found)} counters differ from their reservations")
    log.info("audited", difference_count=0)
