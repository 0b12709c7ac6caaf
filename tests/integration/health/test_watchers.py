"""How the state spreads to streams: by notifications and by the poll behind them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from chassis import database, notifications
from chassis.database import Connection
from chassis.notifications import Connect
from services.health import watchers as module
from services.health.breakers import Breakers
from services.health.domain.breakers import BreakerState
from services.health.domain.signals import Signal
from services.health.domain.states import Update
from services.health.store import SCHEMA, Store
from services.health.watchers import Watchers
from tests.integration.health.admission import PATIENCE_SECONDS
from tests.integration.health.replicas import end_open_time, execute
from tests.integration.health.test_breakers import ended, observe, replica
from tests.integration.health.test_probes import acquire, end_probe, wish
from tests.schemas import runtime_url

NEVER = 3600.0
LISTENER = "tests-listen"


@asynccontextmanager
async def running(
    store: Store, *, connect: Connect | None = None, poll_seconds: float = 0.01
) -> AsyncIterator[Watchers]:
    watchers = Watchers(store, connect=connect, poll_seconds=poll_seconds)
    following = asyncio.ensure_future(watchers.run())
    try:
        yield watchers
    finally:
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following


def listener(url: str, opened: asyncio.Queue[Connection] | None = None) -> Connect:
    async def connect() -> Connection:
        connection = await database.connect(
            runtime_url(url, SCHEMA), application_name=LISTENER, schema=SCHEMA
        )
        if opened is not None:
            opened.put_nowait(connection)
        return connection

    return connect


async def next_change(stream: AsyncGenerator[Update]) -> Update:
    """The next message that says something."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for update in stream:
            if update.is_snapshot or update.breakers or update.kills:
                return update
    raise AssertionError("the stream ended")


async def read_to_the_end(stream: AsyncGenerator[Update]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for _ in stream:
            pass


async def fail_a_probe(breakers: Breakers, url: str, *, epoch: int) -> int:
    """Lets an open breaker probe and open again; returns the epoch after these two transitions."""
    await end_open_time(url)
    probe = wish()
    await acquire(breakers, probe)
    assert await end_probe(breakers, probe, Signal.FAILED, epoch=epoch + 1) == 0
    return epoch + 2


async def fail_five(breakers: Breakers) -> None:
    await observe(breakers, *(ended(Signal.FAILED) for _ in range(5)))


@pytest.mark.usefixtures("_never_stale")
async def test_a_change_arrives_by_its_notification(store: Store, url: str) -> None:
    opened: asyncio.Queue[Connection] = asyncio.Queue()
    async with (
        running(store, connect=listener(url, opened), poll_seconds=NEVER) as watchers,
        aclosing(watchers.watch()) as stream,
    ):
        assert (await anext(stream)).is_snapshot
        await opened.get()
        await fail_five(replica(store))

        [breaker] = (await next_change(stream)).breakers
    assert (breaker.state, breaker.epoch) == (BreakerState.OPEN, 1)


async def test_a_change_arrives_by_the_poll_when_notifications_do_not(store: Store) -> None:
    async with running(store) as watchers, aclosing(watchers.watch()) as stream:
        await anext(stream)
        await fail_five(replica(store))

        [breaker] = (await next_change(stream)).breakers
    assert breaker.state is BreakerState.OPEN


@pytest.mark.usefixtures("_never_stale")
async def test_a_lost_listener_comes_back_and_nothing_it_missed_is_lost(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "RECONNECT_SECONDS", 0.01)
    opened: asyncio.Queue[Connection] = asyncio.Queue()
    allowed = asyncio.Event()
    allowed.set()
    refusals: list[Exception] = []
    connect_at_once = listener(url, opened)

    async def connect() -> Connection:
        await allowed.wait()
        if refusals:
            raise refusals.pop()
        return await connect_at_once()

    async with (
        running(store, connect=connect, poll_seconds=NEVER) as watchers,
        aclosing(watchers.watch()) as stream,
    ):
        await anext(stream)
        await opened.get()
        allowed.clear()
        refusals.append(ConnectionRefusedError("the database restarts"))
        await execute(
            url,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1",
            LISTENER,
        )
        # Notified while nobody listens.
        await fail_five(replica(store))
        allowed.set()

        assert (await next_change(stream)).breakers[0].epoch == 1


async def test_an_idle_stream_repeats_its_version(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.02)
    await fail_five(replica(store))
    async with running(store) as watchers, aclosing(watchers.watch()) as stream:
        snapshot = await anext(stream)
        beats = [await anext(stream) for _ in range(3)]

    # One version for the provider's first appearance, at once with its opening.
    assert snapshot.version == 1
    assert beats == [Update(version=1, is_snapshot=False)] * 3


def test_heartbeats_come_twice_as_often_as_the_contract_promises() -> None:
    assert module.HEARTBEAT_SECONDS + module.POLL_SECONDS < 2.0
    assert module.HEARTBEAT_SECONDS + module.POLL_SECONDS <= module.STALE_SECONDS


async def test_a_slow_watcher_gets_the_newest_state_once_not_a_queue_of_what_it_missed(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.02)
    breakers = replica(store)
    async with (
        running(store) as watchers,
        aclosing(watchers.watch()) as slow,
        aclosing(watchers.watch()) as quick,
    ):
        await anext(slow)
        await anext(quick)
        await fail_five(breakers)
        epoch = 1
        seen: list[int] = []
        for _ in range(20):
            epoch = await fail_a_probe(breakers, url, epoch=epoch)
            while not seen or seen[-1] < epoch:
                seen.append((await next_change(quick)).breakers[0].epoch)

        [late] = (await next_change(slow)).breakers
        after = await anext(slow)
    assert late.epoch == epoch == 41
    assert (after.breakers, after.is_snapshot) == ((), False)
    assert seen == sorted(set(seen))
