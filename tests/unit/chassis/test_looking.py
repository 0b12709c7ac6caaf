"""Looks are repeated, at once when woken, and an outage is told once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from structlog.testing import capture_logs

from chassis.looking import keep_looking


class Database:
    """Fails as often as it is told to."""

    def __init__(self, *answers: bool) -> None:
        self.answers = list(answers)
        self.done = asyncio.Event()

    async def look(self) -> None:
        """Looks once; as a real one it lets others run."""
        await asyncio.sleep(0)
        if not self.answers:
            self.done.set()
            return
        if not self.answers.pop(0):
            raise ConnectionError


async def run(database: Database, pause: Callable[[], float | None], woken: asyncio.Event) -> None:
    looking = asyncio.create_task(
        keep_looking(database.look, pause=pause, failed="not_read", woken=woken)
    )
    try:
        async with asyncio.timeout(5):
            await database.done.wait()
    finally:
        looking.cancel()
        await asyncio.wait({looking})


async def test_each_outage_is_told_once() -> None:
    database = Database(False, False, True, False, False)
    with capture_logs() as logged:
        await run(database, lambda: 0, asyncio.Event())

    assert [each["event"] for each in logged] == ["not_read", "not_read"]


async def test_who_wakes_is_not_kept_waiting() -> None:
    woken, database = asyncio.Event(), Database(True)

    def pause() -> None:
        # Between two looks: the event must not be lost.
        woken.set()

    await run(database, pause, woken)


async def test_nobody_looks_again_before_its_time() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await run(Database(True), lambda: None, asyncio.Event())
