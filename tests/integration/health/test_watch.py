"""The stream as gateways see it: over the wire, from whole replicas."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import grpc
import pytest

from headgate.api.common.v1 import call_pb2
from headgate.api.common.v1 import health_pb2 as common_pb2
from headgate.api.health.v1 import health_pb2 as pb
from tests.integration.health.admission import PATIENCE_SECONDS, StandIn
from tests.integration.health.replicas import (
    Replica,
    end_open_time,
    serve_replica,
    settings_of,
)

OPEN = common_pb2.BREAKER_STATE_OPEN
HALF_OPEN = common_pb2.BREAKER_STATE_HALF_OPEN
CLOSED = common_pb2.BREAKER_STATE_CLOSED
FAILED = call_pb2.CALL_OUTCOME_PROVIDER_FAILED
SUCCEEDED = call_pb2.CALL_OUTCOME_SUCCEEDED

# By turns: the failures of one org alone open nothing for others.
ORGS = itertools.cycle(("acme", "globex", "initech"))
Stream = AsyncIterator[pb.WatchResponse]


@pytest.fixture
async def replicas(url: str, admission: str) -> AsyncIterator[list[Replica]]:
    async with AsyncExitStack() as stack:
        settings = settings_of(url, admission=(admission,))
        yield [await stack.enter_async_context(serve_replica(settings)) for _ in range(2)]


def outcome(
    how: call_pb2.CallOutcome.ValueType, *, epoch: int = 0, call_id: str = ""
) -> pb.Observation:
    return pb.Observation(
        provider="openai",
        breaker_epoch=epoch,
        outcome=how,
        org="acme" if call_id else next(ORGS),
        call_id=call_id or str(uuid.uuid4()),
    )


async def fail_five(replica: Replica) -> None:
    observations = [outcome(FAILED) for _ in range(5)]
    await replica.stub.Observe(pb.ObserveRequest(observations=observations))


async def next_change(stream: Stream) -> pb.WatchResponse:
    """The next message that says something."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for message in stream:
            told = (message.providers, message.parts, message.kills, message.toggles)
            if message.snapshot or any(told):
                return message
    raise AssertionError("the stream ended")


async def test_two_watchers_on_two_replicas_see_each_transition_in_order(
    replicas: list[Replica], url: str
) -> None:
    first, second = replicas
    streams = [aiter(replica.stub.Watch(pb.WatchRequest())) for replica in replicas]
    for stream in streams:
        assert (await next_change(stream)).snapshot

    last: tuple[int, int] = (CLOSED, 0)

    async def both_see(state: int, epoch: int) -> None:
        """Figures may be news in between, but no state is skipped or comes back."""
        nonlocal last
        for stream in streams:
            seen: tuple[int, int] = last
            while seen != (state, epoch):
                assert seen == last
                message = await next_change(stream)
                assert message.HasField("send_time")
                [provider] = message.providers
                seen = (provider.state, provider.epoch)
        last = (state, epoch)

    await fail_five(first)
    await both_see(OPEN, 1)
    await end_open_time(url)
    call_id = str(uuid.uuid4())
    probe = pb.ProbeRequest(provider="openai", org="acme", call_id=call_id)
    answer = await second.stub.AcquireProbes(pb.AcquireProbesRequest(probes=[probe]))
    assert (answer.results[0].granted, answer.results[0].breaker_epoch) == (True, 2)
    await both_see(HALF_OPEN, 2)
    success = outcome(SUCCEEDED, epoch=2, call_id=call_id)
    await first.stub.Observe(pb.ObserveRequest(observations=[success]))
    await both_see(CLOSED, 3)


async def test_a_stream_that_was_lost_begins_again_with_all_that_it_missed(
    replicas: list[Replica],
) -> None:
    first, second = replicas
    lost = first.stub.Watch(pb.WatchRequest())
    before = await anext(aiter(lost))
    lost.cancel()
    await fail_five(first)
    await second.stub.Kill(pb.KillRequest(reason="r", actor="ada", audit_id="a-1"))

    snapshot = await anext(aiter(second.stub.Watch(pb.WatchRequest())))

    assert (before.version, list(before.providers), list(before.kills)) == (0, [], [])
    assert snapshot.snapshot
    assert snapshot.version > before.version
    assert [provider.state for provider in snapshot.providers] == [OPEN]
    assert [kill.state for kill in snapshot.kills] == [common_pb2.KILL_STATE_IN_FORCE]


async def test_watchers_learn_of_a_kill_before_admission_answers(
    replicas: list[Replica], stand_in: StandIn
) -> None:
    stand_in.answers.clear()
    stream = aiter(replicas[1].stub.Watch(pb.WatchRequest()))
    await next_change(stream)
    killing = asyncio.ensure_future(
        replicas[0].stub.Kill(pb.KillRequest(reason="r", actor="ada", audit_id="a-1"))
    )

    [intended] = (await next_change(stream)).kills
    assert intended.state == common_pb2.KILL_STATE_INTENDED
    assert not killing.done()
    stand_in.answers.set()
    [in_force] = (await next_change(stream)).kills
    assert in_force.state == common_pb2.KILL_STATE_IN_FORCE
    assert (await killing).kill == in_force


async def test_a_lifted_kill_is_told_once_and_is_no_part_of_a_snapshot(
    replicas: list[Replica],
) -> None:
    stub = replicas[0].stub
    await stub.Kill(pb.KillRequest(reason="r", actor="ada", audit_id="a-1"))
    stream = aiter(stub.Watch(pb.WatchRequest()))
    await next_change(stream)
    await stub.Resume(pb.ResumeRequest(reason="fixed", actor="bob", audit_id="a-2"))

    states: list[int] = []
    while common_pb2.KILL_STATE_RESUMED not in states:
        states += [kill.state for kill in (await next_change(stream)).kills]
    health = await stub.GetHealth(pb.GetHealthRequest())
    assert states.count(common_pb2.KILL_STATE_RESUMED) == 1
    assert list(health.kills) == []
    assert (await anext(aiter(stub.Watch(pb.WatchRequest())))).kills == []


async def test_a_replica_that_drains_ends_its_streams(url: str) -> None:
    async with serve_replica(settings_of(url)) as replica:
        stream = aiter(replica.stub.Watch(pb.WatchRequest()))
        await next_change(stream)
        draining = asyncio.ensure_future(replica.process.server.drain())

        with pytest.raises(grpc.aio.AioRpcError) as ended:
            await next_change(stream)
        await draining
    assert ended.value.code() is grpc.StatusCode.UNAVAILABLE
