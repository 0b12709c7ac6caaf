"""Stops of a part of the calls, and stops that lift themselves."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator
from dataclasses import replace

import grpc
import pytest

from chassis.peers import open_channel
from services.health.domain.kills import KillState
from services.health.kills import Kills, NotAcknowledged
from services.health.peers import AdmissionFences
from services.health.store import Store
from tests.integration.health.admission import StandIn
from tests.integration.health.replicas import execute, fetch, settings_of
from tests.integration.health.test_kills import KILL, RESUME, read_state


@pytest.fixture
async def kills(store: Store, url: str, admission: str) -> AsyncIterator[Kills]:
    async with open_channel((admission,), settings_of(url)) as channel:
        yield Kills(store, AdmissionFences(channel))


async def test_a_scoped_kill_sets_a_fence_of_its_own(kills: Kills, stand_in: StandIn) -> None:
    switch = await kills.kill(replace(KILL, scope=(("org", "acme"),)))
    everything = await kills.kill(KILL)
    await kills.resume(replace(RESUME, kill_id=switch.kill_id))

    assert switch.kill_id != everything.kill_id == "platform"
    scopes = {request.fence_id: dict(request.scope) for request in stand_in.requests}
    assert scopes == {switch.kill_id: {"org": "acme"}, "platform": {}}
    assert [(each.fence_id, each.active) for each in stand_in.requests][-1] == (
        switch.kill_id,
        False,
    )


async def test_a_kill_lifts_itself_and_says_who_did_it(
    kills: Kills, store: Store, stand_in: StandIn, url: str
) -> None:
    await kills.kill(replace(KILL, duration=dt.timedelta(hours=1)))
    assert stand_in.requests[0].HasField("expire_time")
    await kills.redrive()
    assert await read_state(store) is KillState.IN_FORCE
    await execute(url, "UPDATE kill_switch SET expire_time = now() - interval '1 s'")

    await kills.redrive()

    assert await read_state(store) is KillState.RESUMED
    assert not stand_in.fence.active
    [note] = await fetch(url, "SELECT actor, reason FROM change_log WHERE actor = 'expiry'")
    assert note["reason"] == "its time is over"


async def test_one_order_that_admission_does_not_take_holds_no_other_up(
    kills: Kills, store: Store, stand_in: StandIn
) -> None:
    stand_in.failures = [grpc.StatusCode.UNAVAILABLE] * 4
    for scope in ((("org", "acme"),), (("org", "globex"),)):
        with pytest.raises(NotAcknowledged):
            await kills.kill(replace(KILL, scope=scope))
    stand_in.failures = [grpc.StatusCode.UNAVAILABLE] * 2

    with pytest.raises(NotAcknowledged):
        await kills.redrive()

    states = sorted(switch.state.value for switch in await store.read_kills())
    assert states == ["in-force", "intended"]
