"""Ends all holds whose time has passed: the server's own loop does the same."""

from __future__ import annotations

import structlog

from services.admission.config import AdmissionSettings
from services.admission.engine import open_engine
from services.admission.sweeper import sweep

log = structlog.get_logger()


async def sweep_once(settings: AdmissionSettings) -> None:
    """Sweeps until nothing expired is left."""
    async with open_engine(settings, name="admission-sweep") as engine:
        count = await sweep(engine.pool, engine.reservations)
    log.info("swept", count=count)
