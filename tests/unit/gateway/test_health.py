"""The gateway's copy of health's state, and the stream that keeps it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc.aio import AioRpcError, Metadata

from gateway import denials, health_watch
from gateway.domain.fitness import BreakerState
from gateway.health_watch import STALE_SECONDS, HealthCopy, HealthWatch
from headgate.api.common.v1 import denial_pb2
from headgate.api.common.v1 import health_pb2 as common_pb2
from headgate.api.health.v1.health_pb2 import WatchResponse
from tests.unit.gateway.calls import ROUTE

OPEN, CLOSED = common_pb2.BREAKER_STATE_OPEN, common_pb2.BREAKER_STATE_CLOSED
LOST = AioRpcError(grpc.StatusCode.UNAVAILABLE, Metadata(), Metadata())


def provider(
    name: str, state: common_pb2.BreakerState.ValueType, epoch: int = 1
) -> common_pb2.ProviderHealth:
    return common_pb2.ProviderHealth(provider=name, state=state, epoch=epoch)


def kill(state: common_pb2.KillState.ValueType) -> common_pb2.KillSwitch:
    return common_pb2.KillSwitch(kill_id="platform", state=state, message="Maintenance.")


def snapshot(version: int, *providers: common_pb2.ProviderHealth) -> WatchResponse:
    return WatchResponse(version=version, snapshot=True, providers=providers)


async def test_a_copy_is_ready_once_health_has_spoken() -> None:
    copy = HealthCopy()
    with pytest.raises(RuntimeError, match="no state of health"):
        await copy.check_ready()
    copy.apply(snapshot(0))

    await copy.check_ready()
    assert copy.known.is_set()


def test_a_silent_copy_is_stale_and_still_holds() -> None:
    now = 100.0
    copy = HealthCopy(now=lambda: now)
    assert copy.stale
    copy.apply(snapshot(1, provider("openai", OPEN)))
    now += STALE_SECONDS
    assert not copy.stale
    now += 0.1

    assert copy.stale
    assert copy.breakers["openai"].state is BreakerState.OPEN


def test_changes_are_taken_in_order_and_old_ones_dropped() -> None:
    copy = HealthCopy()
    copy.apply(snapshot(5, provider("openai", CLOSED), provider("google", CLOSED)))
    copy.apply(WatchResponse(version=6, providers=[provider("openai", OPEN, 2)]))
    copy.apply(WatchResponse(version=6, providers=[provider("openai", CLOSED, 1)]))
    copy.apply(WatchResponse(version=4, providers=[provider("google", OPEN, 9)]))

    assert copy.version == 6
    assert copy.breakers["openai"].state is BreakerState.OPEN
    assert copy.breakers["google"].state is BreakerState.CLOSED


def test_a_snapshot_replaces_all() -> None:
    copy = HealthCopy()
    copy.apply(snapshot(5, provider("openai", OPEN)))
    copy.apply(WatchResponse(version=6, kills=[kill(common_pb2.KILL_STATE_IN_FORCE)]))
    copy.apply(snapshot(2, provider("google", CLOSED)))

    assert (copy.version, set(copy.providers), copy.kill) == (2, {"google"}, None)


@pytest.mark.parametrize(
    ("state", "stops"),
    [
        (common_pb2.KILL_STATE_INTENDED, True),
        (common_pb2.KILL_STATE_IN_FORCE, True),
        (common_pb2.KILL_STATE_RESUMING, True),
        (common_pb2.KILL_STATE_RESUMED, False),
    ],
)
def test_a_kill_stops_from_the_intent_until_it_is_lifted(
    state: common_pb2.KillState.ValueType, stops: bool
) -> None:
    copy = HealthCopy()
    copy.apply(WatchResponse(version=1, kills=[kill(common_pb2.KILL_STATE_IN_FORCE)]))
    copy.apply(WatchResponse(version=2, kills=[kill(state)]))

    assert (copy.kill is not None) == stops


def test_an_unknown_state_lets_nothing_pass() -> None:
    copy = HealthCopy()
    strange = provider("openai", OPEN)
    strange.ClearField("state")
    strange.probe_time.CopyFrom(Timestamp(seconds=100, nanos=500_000_000))
    copy.apply(snapshot(1, strange))

    assert copy.breakers["openai"].state is BreakerState.OPEN
    assert copy.breakers["openai"].probe_time == 100.5


class Streams:
    """Gives one stream after the other; an exception ends a stream, so does its end."""

    def __init__(self, *streams: list[WatchResponse | Exception]) -> None:
        self._streams = list(streams)
        self.opened = asyncio.Semaphore(0)
        self.cancelled_count = 0

    def __call__(self) -> AsyncIterator[WatchResponse]:
        self.opened.release()
        return Stream(self, self._streams.pop(0) if self._streams else None)


class Stream:
    def __init__(self, streams: Streams, messages: list[WatchResponse | Exception] | None) -> None:
        self._streams = streams
        self._messages = messages

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> WatchResponse:
        if self._messages is None:
            await asyncio.Event().wait()
        if not self._messages:
            raise StopAsyncIteration
        message = self._messages.pop(0)
        if isinstance(message, Exception):
            raise message
        return message

    def cancel(self) -> None:
        self._streams.cancelled_count += 1


async def test_a_lost_stream_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_watch, "BACKOFF_SECONDS_MAX", 0.001)
    monkeypatch.setattr(health_watch, "BACKOFF_SECONDS_MIN", 0.001)
    streams = Streams(
        [LOST],
        [snapshot(1, provider("openai", CLOSED)), LOST],
        [snapshot(2, provider("openai", OPEN))],
    )
    copy = HealthCopy()
    watching = asyncio.create_task(HealthWatch(streams, copy).run())
    for _ in range(4):
        await asyncio.wait_for(streams.opened.acquire(), 5)
    watching.cancel()
    await asyncio.wait([watching])

    assert copy.version == 2
    assert copy.breakers["openai"].state is BreakerState.OPEN
    assert streams.cancelled_count == 4


async def test_a_silent_stream_is_a_lost_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_watch, "STALE_SECONDS", 0.01)
    monkeypatch.setattr(health_watch, "BACKOFF_SECONDS_MIN", 0.001)
    streams = Streams()
    watching = asyncio.create_task(HealthWatch(streams, HealthCopy()).run())
    for _ in range(2):
        await asyncio.wait_for(streams.opened.acquire(), 5)
    watching.cancel()
    await asyncio.wait([watching])

    assert streams.cancelled_count >= 1


def test_denials_name_what_blocked_and_carry_the_fallback_text() -> None:
    fenced = denials.fenced(ROUTE, kill(common_pb2.KILL_STATE_IN_FORCE))
    excluded = denials.excluded(ROUTE)
    broken = denials.breaker_open(ROUTE, ROUTE.candidates, 1.5)
    unknown = denials.breaker_open(ROUTE, ROUTE.candidates, None)
    unpriced = denials.unpriced(ROUTE, ROUTE.candidates)

    every = (fenced, excluded, broken, unknown, unpriced)
    assert {denial.fallback_text for denial in every} == {"Later, please."}
    assert fenced.message == "Maintenance."
    assert "openai/gpt-4o-mini, anthropic/claude-haiku-4-5" in excluded.message
    assert excluded.retry_kind == unpriced.retry_kind == denial_pb2.RETRY_KIND_NEVER
    assert "anthropic, openai" in broken.message
    assert (broken.retry_kind, broken.retry_delay.ToMilliseconds()) == (
        denial_pb2.RETRY_KIND_AT,
        1_500,
    )
    assert unknown.retry_kind == denial_pb2.RETRY_KIND_UNKNOWN
    assert not unknown.HasField("retry_delay")
