"""Ten thousand watchers of one gateway: each hears what changed, and none costs much."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncGenerator

import pytest

from chassis.errors import Overloaded
from gateway.health_watch import HealthCopy
from gateway.status_watch import HEARTBEAT_SECONDS, WATCHER_COUNT_MAX, StatusWatch
from headgate.api.common.v1 import health_pb2
from headgate.api.gateway.v1 import gateway_pb2
from headgate.api.health.v1 import health_pb2 as pb

# A generator, a task that waits in it, and the watcher's own copy of a small status.
WATCHER_BYTES_MAX = 16 * 1024
Stream = AsyncGenerator[gateway_pb2.OrgStatus, None]


def told(version: int, failed_percent: int) -> pb.WatchResponse:
    provider = health_pb2.ProviderHealth(
        provider="openai", call_count=100, error_rate_percent=failed_percent
    )
    return pb.WatchResponse(version=version, snapshot=version == 1, providers=[provider])


async def test_ten_thousand_hear_and_one_more_is_refused() -> None:
    copy = HealthCopy()
    copy.apply(told(1, 0))
    statuses = StatusWatch(copy)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    streams: list[Stream] = [statuses.watch("acme") for _ in range(WATCHER_COUNT_MAX)]
    for stream in streams:
        assert (await anext(stream)).snapshot
    waiting = [asyncio.ensure_future(anext(stream)) for stream in streams]
    await asyncio.sleep(0)
    each = (tracemalloc.get_traced_memory()[0] - before) / WATCHER_COUNT_MAX
    tracemalloc.stop()

    with pytest.raises(Overloaded):
        await anext(statuses.watch("acme"))
    copy.apply(told(2, 50))
    news = await asyncio.gather(*waiting)

    assert each < WATCHER_BYTES_MAX
    assert {status.version for status in news} == {2}
    assert {status.providers[0].error_rate_percent for status in news} == {50}
    # Who leaves makes room.
    await streams.pop().aclose()
    assert (await anext(statuses.watch("acme"))).snapshot
    for stream in streams:
        await stream.aclose()


async def test_a_watcher_that_does_not_read_keeps_no_queue() -> None:
    copy = HealthCopy()
    copy.apply(told(1, 0))
    stream = StatusWatch(copy).watch("acme")
    await anext(stream)
    for version in range(2, 1_000):
        copy.apply(told(version, version % 100))

    async with asyncio.timeout(HEARTBEAT_SECONDS / 2):
        late = await anext(stream)

    assert late.version == 999
    assert len(late.providers) == 1
    await stream.aclose()


async def test_who_was_told_something_else_is_told_what_differs_from_that() -> None:
    copy = HealthCopy()
    copy.apply(told(1, 0))
    statuses = StatusWatch(copy)
    early, late = statuses.watch("acme"), statuses.watch("acme")
    await anext(early)
    copy.apply(told(2, 50))
    await anext(early)
    assert (await anext(late)).version == 2
    copy.apply(told(3, 50))

    assert not (await anext(late)).providers
    assert not (await anext(early)).providers
    await early.aclose()
    await late.aclose()
