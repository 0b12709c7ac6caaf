"""Stops a writer between its decision and its commit, and sees who waits for it."""

from __future__ import annotations

import asyncio
from typing import Any

from chassis.database import Connection
from services.admission.batch_store import BatchStore
from services.admission.engine import Engine
from tests.integration.admission.replicas import make_reserve


async def pause_before_commit(engine: Engine) -> tuple[asyncio.Event, asyncio.Event]:
    """Makes the engine's next commit wait; returns what it sets there and what it waits for."""
    await engine.reservations.submit(make_reserve(1, org="warm-up"))
    store = engine.reservations._store
    assert store is not None
    decided, go_on = asyncio.Event(), asyncio.Event()
    commit = BatchStore.commit

    async def wait_and_commit(*arguments: object) -> None:
        decided.set()
        await go_on.wait()
        await commit(store, *arguments)  # type: ignore[arg-type]

    store.commit = wait_and_commit  # type: ignore[assignment, method-assign]
    close = engine.reservations.close

    async def go_on_and_close() -> None:
        # A test that failed leaves nobody waiting.
        go_on.set()
        await close()

    engine.reservations.close = go_on_and_close  # type: ignore[method-assign]
    return decided, go_on


async def wait_until_blocked(admin: Connection, task: asyncio.Task[Any] | None = None) -> None:
    """Returns when another writer waits for a lock, or when the task is done without a wait."""
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        " AND datname = current_database()"
    )
    async with asyncio.timeout(20):
        while await admin.fetchval(query) == 0:
            if task is not None and task.done():
                return
            await asyncio.sleep(0.002)
