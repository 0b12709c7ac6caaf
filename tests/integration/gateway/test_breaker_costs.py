"""What is healthy costs an admitted call nothing: no RPC to health, and no lock of its rows."""

from __future__ import annotations

import asyncpg
import pytest

from headgate.api.health.v1 import health_pb2
from services.health.servicer import Context, HealthServicer
from tests.integration.gateway.system import System
from tests.integration.gateway.traffic import admit, make_call, report

CALL_COUNT = 25
LOCK = """
    LOCK TABLE health.circuit, health.circuit_permit, health.circuit_window, health.kill_switch,
    health.health_version IN ACCESS EXCLUSIVE MODE
"""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What health was asked for a call; made before the system that it watches."""
    asked: list[str] = []
    acquire = HealthServicer.AcquireProbes

    async def counted(
        self: HealthServicer, request: health_pb2.AcquireProbesRequest, context: Context
    ) -> health_pb2.AcquireProbesResponse:
        asked.extend(each.provider for each in request.probes)
        return await acquire(self, request, context)

    monkeypatch.setattr(HealthServicer, "AcquireProbes", counted)
    return asked


async def test_calls_are_admitted_while_nobody_can_read_or_lock_a_row_of_health(
    asked: list[str], system: System
) -> None:
    backend = system.backend()
    # The breakers are known, and closed.
    await backend.CompleteCall(report(await admit(backend, make_call())))
    holder = await asyncpg.connect(system.url)
    try:
        async with holder.transaction():
            await holder.execute(LOCK)
            for _ in range(CALL_COUNT):
                await backend.CompleteCall(report(await admit(backend, make_call())))
            held = await holder.fetchval(
                "SELECT count(*) FROM pg_locks WHERE relation = 'health.circuit'::regclass"
                " AND granted AND pid <> pg_backend_pid()"
            )
    finally:
        await holder.close()

    assert held == 0
    assert asked == []
