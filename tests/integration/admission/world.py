"""Two replicas on one database whose clock the test moves, driven from outside of their loop."""

from __future__ import annotations

import asyncio
import datetime as dt
import itertools
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any, Final, TypeVar

import asyncpg
import pytest

from chassis.database import Connection
from services.admission.auditor import Audit, audit
from services.admission.config import AdmissionSettings
from services.admission.domain.calls import CallKey, Operation, Outcome
from services.admission.domain.fences import Fence
from services.admission.domain.limits import Limit, Metric
from services.admission.engine import Engine, open_engine
from services.admission.policy import Policy
from services.admission.sweeper import sweep
from tests.integration.admission.clock import Clock
from tests.integration.admission.replicas import ROOMY, make_limit, put_limit

T = TypeVar("T")

DAWN: Final = dt.datetime(2026, 10, 24, 20, tzinfo=dt.UTC)
# Rows at zero are made before a decision and change nothing.
COUNTERS: Final = """
    SELECT * FROM counter
    WHERE held <> 0 OR settled <> 0 OR arrival IS NOT NULL
    ORDER BY counter_id
"""
CALLS: Final = """
    SELECT org, call_id, 1 AS state, 0 AS settled_nanos, expire_time FROM reservation
    UNION ALL
    SELECT org, call_id, state, settled_nanos, expire_time FROM ended_reservation
"""
OVERSPENT: Final = "SELECT count(*) FROM counter WHERE settled + held > high_cap + overrun"


class World:
    """The database of all histories, which have orgs of their own, and two replicas on it."""

    def __init__(
        self, *, admin: Connection, clock: Clock, engines: list[Engine], runner: asyncio.Runner
    ) -> None:
        self.now = DAWN
        self.histories = itertools.count(1)
        self._admin = admin
        self._clock = clock
        self._engines = engines
        self._runner = runner
        self._sequences = itertools.count(1)

    def submit(self, operation: Operation, replica: int) -> Outcome:
        """The outcome of one operation on one replica."""
        return self._run(self._engines[replica].reservations.submit(operation))

    def sweep(self, replica: int) -> None:
        """Ends every hold whose time has passed."""
        engine = self._engines[replica]
        self._run(sweep(engine.pool, engine.reservations))

    def put_limit(self, limit: Limit, replica: int) -> None:
        """Creates or replaces a limit."""
        self._run(put_limit(self._engines[replica], limit))

    def delete_limit(self, limit_id: str, replica: int) -> None:
        """Deletes a limit."""
        policy = Policy(self._engines[replica].pool)
        self._run(policy.delete_limit(limit_id, audit_id="audit"))

    def set_fence(self, replica: int, *, active: bool) -> None:
        """Sets or lifts the platform's fence."""
        fence = Fence(fence_id="platform", sequence=next(self._sequences), active=active)
        self._run(Policy(self._engines[replica].pool).set_fence(fence, actor="ops"))

    def pass_time(self, step: dt.timedelta) -> None:
        """Moves the clock."""
        self.now += step
        self._run(self._clock.set(self.now))

    def counters(self) -> list[asyncpg.Record]:
        """Every counter that has counted something."""
        return self._run(self._admin.fetch(COUNTERS))

    def calls(self) -> dict[CallKey, asyncpg.Record]:
        """Every call, open or ended."""
        rows = self._run(self._admin.fetch(CALLS))
        return {CallKey(row["org"], row["call_id"]): row for row in rows}

    def overspent_count(self) -> int:
        """How many counters break guarantee 1."""
        return int(self._run(self._admin.fetchval(OVERSPENT)))

    def audit(self) -> Audit:
        """What the auditor finds."""
        return self._run(audit(self._engines[0].pool, grace=dt.timedelta(days=9999)))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)


@contextmanager
def open_world(
    database_url: str, settings: AdmissionSettings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """Opens two replicas whose platform limits bind nobody."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()

        async def build() -> World:
            admin = await asyncpg.connect(
                database_url, server_settings={"search_path": "admission", "timezone": "UTC"}
            )
            stack.push_async_callback(admin.close)
            clock = await Clock.install(admin, monkeypatch, DAWN)
            engines = [
                await stack.enter_async_context(open_engine(settings, name=name))
                for name in ("one", "two")
            ]
            for name, metric in (("calls", Metric.CALLS), ("cost", Metric.COST)):
                limit_id = f"default-platform-{name}-day"
                limit = make_limit(limit_id, org=None, metric=metric, cap=ROOMY)
                await put_limit(engines[0], limit)
            return World(admin=admin, clock=clock, engines=engines, runner=runner)

        try:
            yield runner.run(build())
        finally:
            runner.run(stack.aclose())
