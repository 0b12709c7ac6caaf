"""Ten thousand pages follow the status at once, and none of them holds the others up."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator

import pytest

from chassis.errors import Overloaded
from gateway import status_watch
from gateway.health_watch import HealthCopy
from gateway.status_watch import WATCHER_COUNT_MAX, StatusWatch
from headgate.api.common.v1 import health_pb2 as common_pb2
from headgate.api.gateway.v1 import gateway_pb2 as pb
from headgate.api.health.v1 import health_pb2

OPEN, CLOSED = common_pb2.BREAKER_STATE_OPEN, common_pb2.BREAKER_STATE_CLOSED


def told(
    version: int, state: common_pb2.BreakerState.ValueType, *, snapshot: bool = False
) -> health_pb2.WatchResponse:
    message = health_pb2.WatchResponse(version=version, snapshot=snapshot)
    message.providers.add(provider="openai", state=state, epoch=version)
    message.providers.add(provider="anthropic", state=CLOSED)
    return message


@pytest.fixture
def copy() -> HealthCopy:
    made = HealthCopy()
    made.apply(told(1, CLOSED, snapshot=True))
    return made


async def open_one(watch: StatusWatch, org: str) -> AsyncGenerator[pb.OrgStatus]:
    stream = watch.watch(org)
    assert (await anext(stream)).snapshot
    return stream


async def test_ten_thousand_watchers_each_get_a_change_and_one_more_is_refused(
    copy: HealthCopy,
) -> None:
    watch = StatusWatch(copy)
    orgs = [f"org-{number % 7}" for number in range(WATCHER_COUNT_MAX)]
    streams = [await open_one(watch, org) for org in orgs]
    with pytest.raises(Overloaded):
        await anext(watch.watch("late"))
    waiting = [asyncio.ensure_future(anext(stream)) for stream in streams]
    await asyncio.sleep(0)
    before = time.process_time()

    copy.apply(told(2, OPEN))
    changes = await asyncio.gather(*waiting)

    # What this takes is felt by every call that the gateway decides on: some 20 us each.
    assert time.process_time() - before < 2.0
    assert {each.version for each in changes} == {2}
    assert {each.banner.text != "" for each in changes} == {True}
    assert {tuple(p.provider for p in each.providers) for each in changes} == {("openai",)}
    for stream in streams:
        await stream.aclose()
    await (await open_one(watch, "late")).aclose()


async def test_what_is_shared_is_made_anew_in_time_and_for_any_number_of_orgs(
    copy: HealthCopy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_watch, "SHARED_COUNT_MAX", 2)
    now = 100.0
    copy.wall_time = lambda: now
    watch = StatusWatch(copy)
    first = watch.read("acme")
    stop = health_pb2.WatchResponse(version=2)
    kill = stop.kills.add(
        kill_id="acme", state=common_pb2.KILL_STATE_IN_FORCE, message="Back soon."
    )
    kill.scope["org"] = "acme"
    kill.expire_time.FromSeconds(101)
    copy.apply(stop)

    stopped = watch.read("acme")
    others = [watch.read(org).HasField("banner") for org in ("globex", "initech", "umbrella")]
    now = 101.5
    lifted = watch.read("acme")

    assert [each.HasField("banner") for each in (first, stopped, lifted)] == [False, True, False]
    assert others == [False] * 3
    assert watch.read("acme") is lifted
