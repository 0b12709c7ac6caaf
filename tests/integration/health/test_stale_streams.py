"""A stream ends rather than tell what is no longer true."""

from __future__ import annotations

import asyncio
import datetime as dt
from contextlib import aclosing
from dataclasses import replace

import asyncpg
import pytest

from chassis.errors import StoreUnavailable
from services.health import watchers as module
from services.health.domain.states import HealthState, Update
from services.health.store import Store
from services.health.watchers import Watchers
from tests.integration.health.replicas import execute
from tests.integration.health.test_breakers import replica
from tests.integration.health.test_watchers import NEVER, fail_five, read_to_the_end, running


async def restore(url: str) -> None:
    """Brings the state of the beginning back, as a backup would."""
    await execute(url, "UPDATE health_version SET version = 0; DELETE FROM circuit")


async def test_a_stream_may_rely_on_its_own_reading_before_its_process_has_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.02)
    not_running = Watchers(store, connect=None)
    async with aclosing(not_running.watch()) as stream:
        assert replace(await anext(stream), toggles=()) == Update(version=0, is_snapshot=True)
        assert await anext(stream) == Update(version=0, is_snapshot=False)


@pytest.mark.usefixtures("_never_stale")
async def test_a_database_that_is_away_ends_the_stream_instead_of_repeating_old_news(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.02)
    is_away = asyncio.Event()

    class Lost(Store):
        async def read_version(self) -> tuple[int, dt.datetime]:
            if is_away.is_set():
                raise asyncpg.ConnectionDoesNotExistError("connection was closed")
            return await super().read_version()

    async with running(Lost(store._pool)) as watchers:
        stream = watchers.watch()
        await anext(stream)
        await anext(stream)
        is_away.set()
        monkeypatch.setattr(module, "STALE_SECONDS", 0.05)
        with pytest.raises(StoreUnavailable):
            await read_to_the_end(stream)

        # The process goes on, and so do new streams once the database is back.
        is_away.clear()
        async with aclosing(watchers.watch()) as again:
            assert (await anext(again)).is_snapshot


async def test_a_restored_database_ends_streams_so_that_they_begin_again(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.02)
    breakers = replica(store)
    await fail_five(breakers)
    async with running(store) as watchers:
        stream = watchers.watch()
        assert (await anext(stream)).version == 1
        await restore(url)
        await read_to_the_end(stream)
        async with aclosing(watchers.watch()) as again:
            assert replace(await anext(again), toggles=()) == Update(version=0, is_snapshot=True)


@pytest.mark.usefixtures("_never_stale")
async def test_a_restored_past_is_noticed_even_if_only_streams_had_read_the_lost_one(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.02)
    async with running(store, poll_seconds=NEVER) as watchers:
        async with aclosing(watchers.watch()) as first:
            await anext(first)
            # The process itself has read version 0 by now, and reads no more.
            await anext(first)
        await fail_five(replica(store))
        stream = watchers.watch()
        snapshot, beat = await anext(stream), await anext(stream)
        await restore(url)
        watchers._woken.set()
        await read_to_the_end(stream)

    assert (snapshot.version, len(snapshot.breakers)) == (1, 1)
    assert beat == Update(version=1, is_snapshot=False)


async def test_a_snapshot_read_before_a_restore_is_not_spread_after_it(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.02)
    await fail_five(replica(store))
    proceed = asyncio.Event()
    slow_reads: asyncio.Queue[int] = asyncio.Queue()

    class Slow(Store):
        is_slow = False

        async def read_state(self) -> HealthState:
            is_slow, self.is_slow = self.is_slow, False
            state = await super().read_state()
            if is_slow:
                slow_reads.put_nowait(state.version)
                await proceed.wait()
            return state

    slow = Slow(store._pool)
    async with running(slow) as watchers, aclosing(watchers.watch()) as quick:
        await anext(quick)
        slow.is_slow = True
        late = watchers.watch()
        opening = asyncio.ensure_future(anext(late))
        assert await slow_reads.get() == 1
        await restore(url)
        await read_to_the_end(quick)
        async with aclosing(watchers.watch()) as again:
            await anext(again)
            proceed.set()
            await opening
            await read_to_the_end(late)

            assert await anext(again) == Update(version=0, is_snapshot=False)
