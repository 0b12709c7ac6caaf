"""The gateway's copy of health's state, and the stream that keeps it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from grpc.aio import AioRpcError, Metadata

from gateway import denials, health_watch
from gateway.domain.fitness import RAMP_SECONDS, Breaker, BreakerState
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


def unfit(copy: HealthCopy, name: str) -> Breaker:
    return copy.breakers.unfit[name, "", ""]


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
    assert unfit(copy, "openai").state is BreakerState.OPEN


def test_changes_are_taken_in_order_and_old_ones_dropped() -> None:
    copy = HealthCopy()
    copy.apply(snapshot(5, provider("openai", CLOSED), provider("google", CLOSED)))
    copy.apply(WatchResponse(version=6, providers=[provider("openai", OPEN, 2)]))
    copy.apply(WatchResponse(version=6, providers=[provider("openai", CLOSED, 1)]))
    copy.apply(WatchResponse(version=4, providers=[provider("google", OPEN, 9)]))

    assert copy.version == 6
    assert unfit(copy, "openai").state is BreakerState.OPEN
    assert ("google", "", "") not in copy.breakers.unfit


def test_a_snapshot_replaces_all() -> None:
    copy = HealthCopy()
    copy.apply(snapshot(5, provider("openai", OPEN)))
    copy.apply(WatchResponse(version=6, kills=[kill(common_pb2.KILL_STATE_IN_FORCE)]))
    copy.apply(snapshot(2, provider("google", CLOSED)))

    assert (copy.version, set(copy.providers), copy.stops) == (2, {"google"}, ())


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

    assert copy.stopped == stops


def test_an_unknown_state_lets_nothing_pass() -> None:
    copy = HealthCopy()
    strange = provider("openai", OPEN)
    strange.ClearField("state")
    strange.probe_time.CopyFrom(Timestamp(seconds=100, nanos=500_000_000))
    copy.apply(snapshot(1, strange))

    assert unfit(copy, "openai").state is BreakerState.OPEN
    assert unfit(copy, "openai").probe_time == 100.5


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
    assert unfit(copy, "openai").state is BreakerState.OPEN
    assert streams.cancelled_count == 4


async def test_a_silent_stream_is_a_lost_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_watch, "SILENCE_SECONDS", 0.01)
    monkeypatch.setattr(health_watch, "BACKOFF_SECONDS_MIN", 0.001)
    streams = Streams()
    watching = asyncio.create_task(HealthWatch(streams, HealthCopy()).run())
    for _ in range(2):
        await asyncio.wait_for(streams.opened.acquire(), 5)
    watching.cancel()
    await asyncio.wait([watching])

    assert streams.cancelled_count >= 1


def test_denials_name_what_blocked() -> None:
    fenced = denials.fenced("Maintenance.")
    excluded = denials.excluded(ROUTE)
    blocks = {
        ("openai", "", ""): Breaker(state=BreakerState.OPEN, probe_time=101.5),
        ("openai", "gpt-4o", ""): Breaker(state=BreakerState.HALF_OPEN),
        ("openai", "", "acme"): Breaker(state=BreakerState.CLOSED, cool_time=101.0),
        ("google", "", ""): Breaker(state=BreakerState.OPEN, forced=True),
    }
    broken = denials.breaker_open(ROUTE, blocks, 1.5, now=100.0)
    unknown = denials.breaker_open(ROUTE, blocks, None, now=100.0)
    unpriced = denials.unpriced(ROUTE, ROUTE.candidates)

    assert fenced.message == "Maintenance."
    assert "openai/gpt-4o-mini, anthropic/claude-haiku-4-5" in excluded.message
    assert excluded.retry_kind == unpriced.retry_kind == denial_pb2.RETRY_KIND_NEVER
    assert "google was taken out by staff" in broken.message
    assert "the breaker of openai is open" in broken.message
    assert "credential 'acme' with openai was asked to slow down" in broken.message
    assert "the breaker of model 'gpt-4o' of openai is half-open" in broken.message
    assert (broken.retry_kind, broken.retry_delay.ToMilliseconds()) == (
        denial_pb2.RETRY_KIND_AT,
        1_500,
    )
    assert unknown.retry_kind == denial_pb2.RETRY_KIND_UNKNOWN
    assert not unknown.HasField("retry_delay")


def test_times_of_health_are_read_on_the_gateway_s_clock() -> None:
    copy = HealthCopy(wall_time=lambda: 1_000.0)
    told = provider("openai", OPEN)
    told.probe_time.FromSeconds(560)
    message = snapshot(1, told)
    message.send_time.FromSeconds(500)

    copy.apply(message)

    assert unfit(copy, "openai").probe_time == 1_060.0


def test_parts_are_kept_while_they_are_unfit_and_epochs_for_good() -> None:
    now = 1_000.0
    copy = HealthCopy(wall_time=lambda: now)
    cooling = common_pb2.PartHealth(provider="openai", credential="acme", state=CLOSED)
    cooling.cool_time.FromSeconds(1_030)
    broken = common_pb2.PartHealth(provider="openai", model="gpt-4o", state=OPEN)
    told = provider("openai", CLOSED, 2)
    told.last_epoch = 7
    copy.apply(WatchResponse(version=1, snapshot=True, providers=[told], parts=[cooling, broken]))
    unfit_at_first = set(copy.breakers.unfit)
    mended = common_pb2.PartHealth(provider="openai", model="gpt-4o", state=CLOSED)
    copy.apply(WatchResponse(version=2, parts=[mended]))
    now += 31
    copy.apply(WatchResponse(version=2))

    assert unfit_at_first == {("openai", "", "acme"), ("openai", "gpt-4o", "")}
    assert copy.breakers.unfit == {}
    assert set(copy.parts) == {("openai", "", "acme")}
    assert (copy.breakers.epoch("openai"), copy.breakers.epoch("google")) == (7, 0)


def test_what_has_just_closed_ramps_and_what_staff_closed_does_not() -> None:
    now = 1_000.0
    copy = HealthCopy(wall_time=lambda: now)
    told = [provider(name, CLOSED) for name in ("openai", "google")]
    for each in told:
        each.change_time.FromSeconds(990)
    told[1].override = common_pb2.BREAKER_OVERRIDE_CLOSED
    copy.apply(snapshot(1, *told))

    assert set(copy.breakers.unfit) == {("openai", "", "")}
    assert unfit(copy, "openai").close_time == 990.0
    now += RAMP_SECONDS
    copy.apply(WatchResponse(version=1))
    assert copy.breakers.unfit == {}


def test_a_stale_gateway_leaves_stops_to_admission() -> None:
    now = 100.0
    copy = HealthCopy(now=lambda: now)
    copy.apply(WatchResponse(version=1, kills=[kill(common_pb2.KILL_STATE_IN_FORCE)]))
    fresh = copy.current_stops()
    now += STALE_SECONDS + 0.1

    assert [each.kill_id for each in fresh] == ["platform"]
    assert copy.current_stops() == ()
    # People are still told what was last known, and that it may be old.
    assert copy.stopped
    assert copy.stale
