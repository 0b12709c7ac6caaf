"""Makes the coming partitions of ended calls, and forgets what is past the settlement horizon.

Correctness needs none of it: windows roll by themselves. What counters that go on have settled
stays with them when the calls behind it are forgotten.
"""

from __future__ import annotations

from typing import Final

import structlog

from services.admission.config import AdmissionSettings
from services.admission.engine import open_engine
from services.admission.retention import Retention

log = structlog.get_logger()

COMING_DAY_COUNT: Final = 2


async def roll_windows(settings: AdmissionSettings) -> None:
    """Logs how much was forgotten."""
    async with open_engine(settings, name="admission-roll-windows") as engine:
        retention = Retention(engine.pool)
        now = await retention.read_clock()
        await retention.create_partitions(now, coming_day_count=COMING_DAY_COUNT)
        forgotten = await retention.forget(now)
        await engine.shares.fade(now)
    log.info("windows_rolled", **forgotten)
