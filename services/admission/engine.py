"""Builds what decides, for the server and for its jobs alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from chassis import database
from services.admission.batch_store import SESSION_SETTINGS
from services.admission.config import AdmissionSettings
from services.admission.counters import Counters
from services.admission.metrics import Metrics
from services.admission.policy import PolicyCopy
from services.admission.reservations import Reservations
from services.admission.shares import Shares
from services.admission.violations import Violations

SCHEMA = "admission"


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What a process of admission works with."""

    pool: database.Pool
    copy: PolicyCopy
    reservations: Reservations
    shares: Shares
    violations: Violations


@asynccontextmanager
async def open_engine(
    settings: AdmissionSettings, *, name: str, metrics: Metrics | None = None
) -> AsyncIterator[Engine]:
    """Opens the pool and the writer; leaving waits for every operation taken.

    `name` is what the database's activity view shows.
    """
    pool = await database.open_pool(
        settings.database_url,
        application_name=name,
        schema=SCHEMA,
        size=settings.database_pool_size,
        statement_cache_size=settings.database_statement_cache_size,
    )

    async with pool:
        copy = PolicyCopy(pool)
        await copy.reload()
        shares, violations = Shares(pool), Violations(pool)
        await shares.reload()
        reservations = Reservations(
            connect=partial(_connect, settings, f"{name}-writer"),
            policy=copy,
            counters=Counters(pool),
            shares=shares,
            violations=violations,
            metrics=metrics,
        )
        try:
            yield Engine(
                pool=pool,
                copy=copy,
                reservations=reservations,
                shares=shares,
                violations=violations,
            )
        finally:
            await reservations.close()
            await shares.flush()
            await violations.flush()


async def _connect(settings: AdmissionSettings, name: str) -> database.Connection:
    """Opens the writer's own connection."""
    connection = await database.connect(
        settings.database_url,
        application_name=name,
        schema=SCHEMA,
        statement_cache_size=settings.database_statement_cache_size,
    )
    changes = [f"SET {key} = {value}" for key, value in SESSION_SETTINGS.items()]
    await connection.execute("; ".join(changes))
    return connection
