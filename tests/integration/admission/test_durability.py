"""What is answered is on disk before."""

from __future__ import annotations

from services.admission.domain.calls import Held
from services.admission.engine import Engine
from tests.integration.admission.replicas import make_reserve


async def test_a_batch_is_durable_before_it_is_answered(engine: Engine) -> None:
    assert isinstance(await engine.reservations.submit(make_reserve(1)), Held)
    store = engine.reservations._store
    assert store is not None
    # The session that commits decides; nothing but the default may stand there.
    assert await store._connection.fetchval("SHOW synchronous_commit") == "on"
    assert await store._connection.fetchval("SHOW fsync") == "on"
