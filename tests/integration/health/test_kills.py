"""The kill switch over a real database and a fence behind a real channel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Final

import grpc
import pytest

from chassis.errors import NotFound
from chassis.peers import open_channel
from services.health.domain.kills import FenceLagsError, KillOrder, KillState, ResumeOrder
from services.health.kills import Kills, NotAcknowledged
from services.health.peers import AdmissionFences
from services.health.store import Store
from tests.integration.health.admission import PATIENCE_SECONDS, StandIn, serve_admission
from tests.integration.health.replicas import NOWHERE, fetch, settings_of

KILL: Final = KillOrder(reason="runaway agent", message="Back soon.", actor="ada", audit_id="a-1")
RESUME: Final = ResumeOrder(reason="fixed", actor="bob", audit_id="a-2")


@pytest.fixture
async def kills(store: Store, url: str, admission: str) -> AsyncIterator[Kills]:
    settings = settings_of(url)
    async with open_channel((admission,), settings) as channel:
        yield Kills(store, AdmissionFences(channel))


async def read_state(store: Store) -> KillState | None:
    switch = await store.read_kill("platform")
    return None if switch is None else switch.state


async def test_a_kill_returns_in_force_after_admission_has_fenced(
    kills: Kills, stand_in: StandIn
) -> None:
    switch = await kills.kill(KILL)

    assert (switch.state, switch.sequence) == (KillState.IN_FORCE, 1)
    [request] = stand_in.requests
    assert (request.fence_id, request.sequence, request.active) == ("platform", 1, True)
    assert (request.message, request.actor) == ("Back soon.", "ada")
    assert stand_in.authorizations[0].startswith("Bearer ")


async def test_until_admission_answers_the_kill_is_only_intended(
    kills: Kills, store: Store, stand_in: StandIn
) -> None:
    stand_in.answers.clear()
    killing = asyncio.ensure_future(kills.kill(KILL))
    await stand_in.arrived()

    assert await read_state(store) is KillState.INTENDED
    assert not killing.done()
    stand_in.answers.set()
    assert (await killing).state is KillState.IN_FORCE
    assert await read_state(store) is KillState.IN_FORCE


async def test_a_kill_without_admission_fails_aloud_stands_and_is_driven_on(
    store: Store, url: str, stand_in: StandIn
) -> None:
    async with serve_admission(stand_in) as address:
        pass
    async with open_channel((address,), settings_of(url)) as channel:
        kills = Kills(store, AdmissionFences(channel))
        with pytest.raises(NotAcknowledged) as failed:
            await kills.kill(KILL)
        assert (failed.value.code, failed.value.reason) == (
            grpc.StatusCode.UNAVAILABLE,
            "PEER_UNAVAILABLE",
        )
        with pytest.raises(NotAcknowledged):
            await kills.redrive()
        assert await read_state(store) is KillState.INTENDED

        async with serve_admission(stand_in, port=int(address.rpartition(":")[2])):
            await channel.channel_ready()
            await kills.redrive()

    assert await read_state(store) is KillState.IN_FORCE
    assert stand_in.fence.active


async def test_a_resume_lifts_the_fence_and_its_order_stands_too(
    kills: Kills, store: Store, stand_in: StandIn
) -> None:
    await kills.kill(KILL)
    stand_in.failures = [grpc.StatusCode.UNAVAILABLE] * 2
    with pytest.raises(NotAcknowledged):
        await kills.resume(RESUME)
    assert await read_state(store) is KillState.RESUMING
    assert stand_in.fence.active

    switch = await kills.resume(RESUME)

    assert (switch.state, switch.sequence, switch.actor) == (KillState.RESUMED, 2, "bob")
    assert not stand_in.fence.active


async def test_there_is_nothing_to_resume_before_a_kill_and_after_a_resume(kills: Kills) -> None:
    with pytest.raises(NotFound):
        await kills.resume(RESUME)
    await kills.kill(KILL)
    await kills.resume(RESUME)

    with pytest.raises(NotFound) as refused:
        await kills.resume(RESUME)
    assert refused.value.reason == "KILL_NOT_FOUND"


async def test_a_repeated_kill_asks_admission_not_its_own_row(
    kills: Kills, stand_in: StandIn
) -> None:
    first = await kills.kill(KILL)
    stand_in.failures = [grpc.StatusCode.INTERNAL]
    with pytest.raises(NotAcknowledged):
        await kills.kill(KILL)

    assert await kills.kill(KILL) == first
    assert [request.sequence for request in stand_in.requests] == [1, 1, 1]


async def test_what_admission_refuses_for_certain_is_not_repeated_at_once(
    kills: Kills, stand_in: StandIn
) -> None:
    stand_in.failures = [grpc.StatusCode.INTERNAL, grpc.StatusCode.INTERNAL]

    with pytest.raises(NotAcknowledged):
        await kills.kill(KILL)
    assert len(stand_in.requests) == 1


async def test_one_replica_of_admission_that_goes_away_costs_nothing(
    kills: Kills, stand_in: StandIn
) -> None:
    stand_in.failures = [grpc.StatusCode.UNAVAILABLE]

    assert (await kills.kill(KILL)).state is KillState.IN_FORCE
    assert len(stand_in.requests) == 2


async def test_an_admission_that_never_answers_ends_the_wait(
    store: Store, url: str, admission: str, stand_in: StandIn
) -> None:
    stand_in.answers.clear()
    async with open_channel((admission,), settings_of(url)) as channel:
        kills = Kills(store, AdmissionFences(channel, timeout_seconds=0.1))
        with pytest.raises(NotAcknowledged):
            await kills.kill(KILL)

    assert await read_state(store) is KillState.INTENDED
    stand_in.answers.set()


async def test_a_resume_that_overtakes_a_kill_wins_in_both_answers(
    kills: Kills, stand_in: StandIn
) -> None:
    stand_in.answers.clear()
    killing = asyncio.ensure_future(kills.kill(KILL))
    await stand_in.arrived()
    resuming = asyncio.ensure_future(kills.resume(RESUME))
    await stand_in.arrived()
    stand_in.answers.set()

    switches = await asyncio.gather(killing, resuming)

    assert {(switch.state, switch.sequence) for switch in switches} == {(KillState.RESUMED, 2)}
    assert (stand_in.fence.sequence, stand_in.fence.active) == (2, False)


async def test_whatever_is_ordered_at_once_over_two_replicas_row_and_fence_agree(
    store: Store, other_store: Store, url: str, admission: str, stand_in: StandIn
) -> None:
    async with open_channel((admission,), settings_of(url)) as channel:
        fences = AdmissionFences(channel)
        replicas = [Kills(store, fences), Kills(other_store, fences)]
        orders = [
            replicas[number % 2].kill(replace(KILL, reason=f"reason {number}"))
            if number % 3
            else replicas[number % 2].resume(RESUME)
            for number in range(24)
        ]
        answers = await asyncio.gather(*orders, return_exceptions=True)
        await replicas[0].redrive()

    assert [each for each in answers if isinstance(each, Exception)] == [
        each for each in answers if isinstance(each, NotFound | NotAcknowledged)
    ]
    # Every order has a sequence of its own: the same one never asks for both.
    query = "SELECT after->>'sequence' AS n FROM change_log WHERE before IS DISTINCT FROM after"
    log = await fetch(url, query)
    assert len({row["n"] for row in log}) == len(log)
    asked = {(request.sequence, request.active) for request in stand_in.requests}
    assert len({sequence for sequence, _ in asked}) == len(asked)
    switch = await store.read_kill("platform")
    assert switch is not None
    assert not switch.is_pending
    assert (switch.sequence, switch.is_wanted) == (
        stand_in.fence.sequence,
        stand_in.fence.active,
    )


@pytest.mark.parametrize("active", [True, False])
async def test_a_fence_ahead_of_a_restored_row_is_overtaken_before_anybody_is_told(
    kills: Kills, stand_in: StandIn, active: bool
) -> None:
    stand_in.fence.sequence, stand_in.fence.active = 41, active

    switch = await kills.kill(KILL)

    assert (switch.state, switch.sequence) == (KillState.IN_FORCE, 42)
    assert (stand_in.fence.sequence, stand_in.fence.active) == (42, True)


async def test_a_fence_that_runs_away_is_never_taken_for_ours(
    kills: Kills, store: Store, stand_in: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each answer is ahead of what was sent, as if somebody else wrote the fence all the time."""
    put = AdmissionFences.put

    async def put_and_advance(self: AdmissionFences, switch: object) -> object:
        stand_in.fence.sequence += 10
        return await put(self, switch)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(AdmissionFences, "put", put_and_advance)
    with pytest.raises(NotAcknowledged):
        await kills.kill(KILL)

    assert await read_state(store) is KillState.INTENDED


async def test_a_fence_that_lags_is_never_taken_for_ours(
    kills: Kills, store: Store, stand_in: StandIn
) -> None:
    stand_in.is_deaf = True

    with pytest.raises(FenceLagsError):
        await kills.kill(KILL)
    assert await read_state(store) is KillState.INTENDED


async def test_a_cancelled_kill_stands_and_is_driven_on(
    kills: Kills, store: Store, stand_in: StandIn
) -> None:
    stand_in.answers.clear()
    killing = asyncio.ensure_future(kills.kill(KILL))
    await stand_in.arrived()
    killing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await killing
    assert await read_state(store) is KillState.INTENDED

    stand_in.answers.set()
    await kills.redrive()
    assert await read_state(store) is KillState.IN_FORCE


async def test_each_order_is_in_the_change_log_once(kills: Kills, url: str) -> None:
    for audit_id in ("a-1", "a-1", "a-found-in-force", "a-found-in-force"):
        await kills.kill(replace(KILL, audit_id=audit_id))
    await kills.resume(RESUME)

    first, repeated, second = await fetch(url, "SELECT * FROM change_log ORDER BY change_id")
    assert (repeated["audit_id"], repeated["before"]) == ("a-found-in-force", repeated["after"])
    assert (first["audit_id"], first["actor"], first["reason"]) == ("a-1", "ada", "runaway agent")
    assert (second["audit_id"], second["actor"], second["reason"]) == ("a-2", "bob", "fixed")
    assert {first["target"], second["target"]} == {"kill_switch/platform"}
    assert first["before"] is None
    states = [json.loads(text)["state"] for text in (first["after"], second["before"])]
    assert states == ["intended", "in-force"]
    assert json.loads(second["after"])["sequence"] == 2


async def test_the_loop_outlives_whatever_fails(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.health.kills.REDRIVE_INTERVAL_SECONDS", 0.0)
    attempts: asyncio.Queue[int] = asyncio.Queue()

    class Broken(Kills):
        async def redrive(self) -> None:
            attempts.put_nowait(1)
            raise RuntimeError("whatever")

    async with open_channel(NOWHERE, settings_of(url)) as channel:
        loop = asyncio.ensure_future(Broken(store, AdmissionFences(channel)).run())
        async with asyncio.timeout(PATIENCE_SECONDS):
            for _ in range(3):
                await attempts.get()
        loop.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loop
