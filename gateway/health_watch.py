"""The gateway's copy of health's state, kept by a stream."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import grpc
import structlog
from google.protobuf.timestamp_pb2 import Timestamp

from chassis import clock
from gateway.domain.fitness import Breaker, Breakers, BreakerState, PartKey
from gateway.domain.in_use import CredentialsInUse
from gateway.domain.statuses import Level, level_of, level_with
from gateway.domain.stops import Stop
from gateway.domain.toggles import Toggle
from headgate.api.common.v1 import health_pb2 as common_pb2
from headgate.api.common.v1 import toggle_pb2
from headgate.api.health.v1 import health_pb2

# Health speaks at least every two seconds: whoever heard nothing for longer may know what is old.
STALE_SECONDS: Final = 2.0
# Three silences in a row mean that the stream is lost.
SILENCE_SECONDS: Final = 6.0
BACKOFF_SECONDS_MIN: Final = 0.1
BACKOFF_SECONDS_MAX: Final = 2.0

_STATES: Final = {
    common_pb2.BREAKER_STATE_CLOSED: BreakerState.CLOSED,
    common_pb2.BREAKER_STATE_OPEN: BreakerState.OPEN,
    common_pb2.BREAKER_STATE_HALF_OPEN: BreakerState.HALF_OPEN,
}

# Opens a stream of health's state.
Watch = Callable[[], AsyncIterator[health_pb2.WatchResponse]]

log = structlog.get_logger()


class HealthCopy:
    """What health told last. While it is stale the last copy of the breakers still holds, and
    health decides about probes; stops are left to admission's fences, which know of each.
    """

    def __init__(
        self, *, now: clock.Clock = clock.monotonic, wall_time: clock.Clock = time.time
    ) -> None:
        self._now = now
        self.wall_time = wall_time
        self._heard: float | None = None
        # Set, and replaced, whenever something changed.
        self.moved = asyncio.Event()
        # Set from the first word of health on.
        self.known = asyncio.Event()
        self.version = 0
        self.breakers = Breakers()
        self.providers: dict[str, common_pb2.ProviderHealth] = {}
        # Breakers of models and credentials that are not simply closed, and refused credentials.
        self.parts: dict[PartKey, common_pb2.PartHealth] = {}
        self.kills: dict[str, common_pb2.KillSwitch] = {}
        # The same, as calls are compared with them.
        self.stops: tuple[Stop, ...] = ()
        # What calls ask for here: to whom a provider is down.
        self.in_use = CredentialsInUse()
        self.toggles: dict[str, Toggle] = {}

    @property
    def stopped(self) -> bool:
        """Whether all calls are stopped, as last told: from the intent until it is lifted."""
        return any(not stop.scope for stop in self.stops)

    def current_stops(self) -> Sequence[Stop]:
        """Returns the stops that are certain. A stale gateway leaves them to admission: else it
        would go on denying after a stop was lifted that it cannot hear of.
        """
        return () if not self.stops or self.stale else self.stops

    def level(self, provider: str, *, org: str = "") -> Level:
        """Returns how fit a provider is to an org, or to all whose calls come here."""
        told = self.providers[provider]
        level = level_of(
            read_state(told.state),
            call_count=told.call_count,
            error_rate_percent=told.error_rate_percent,
        )
        used = self.in_use.of(provider, self.wall_time(), org=org)
        unfit = self.breakers.unfit
        parts = [unfit.get((provider, "", credential)) for credential in used]
        return level_with(level, [each.state if each else BreakerState.CLOSED for each in parts])

    @property
    def stale(self) -> bool:
        """Whether the copy may be old."""
        return self._heard is None or self._now() - self._heard > STALE_SECONDS

    def apply(self, message: health_pb2.WatchResponse) -> None:
        """Takes a snapshot, a change or a heartbeat; an old change changes nothing."""
        self._heard = self._now()
        self.known.set()
        self.breakers.forget_plain(self.wall_time())
        if message.snapshot:
            self.breakers, self.providers, self.parts, self.kills = Breakers(), {}, {}, {}
            self.toggles = {}
        elif message.version <= self.version:
            return
        self.version = message.version
        now = self.wall_time()
        # How far the gateway's clock is ahead of health's database.
        ahead = 0.0
        if message.HasField("send_time"):
            ahead = now - message.send_time.ToNanoseconds() / 1e9
        self._apply_breakers(message, now, ahead)
        self._apply_kills(message, ahead)
        for toggle in message.toggles:
            if toggle.deleted:
                self.toggles.pop(toggle.toggle_id, None)
            else:
                self.toggles[toggle.toggle_id] = _read_toggle(toggle)
        moved, self.moved = self.moved, asyncio.Event()
        moved.set()

    def _apply_breakers(self, message: health_pb2.WatchResponse, now: float, ahead: float) -> None:
        for provider in message.providers:
            self.providers[provider.provider] = provider
            self.breakers.epochs[provider.provider] = max(provider.epoch, provider.last_epoch)
            key = (provider.provider, "", "")
            self.breakers.put(key, _read_breaker(provider, ahead), now)
        for part in message.parts:
            key = (part.provider, part.model, part.credential)
            breaker = _read_breaker(part, ahead)
            self.breakers.put(key, breaker, now)
            is_refused = part.HasField("refuse_time")
            if breaker.is_plain(now) and not breaker.forced and not is_refused:
                self.parts.pop(key, None)
            else:
                self.parts[key] = part

    def _apply_kills(self, message: health_pb2.WatchResponse, ahead: float) -> None:
        for kill in message.kills:
            if kill.state == common_pb2.KILL_STATE_RESUMED:
                self.kills.pop(kill.kill_id, None)
            else:
                self.kills[kill.kill_id] = kill
        if message.snapshot or message.kills:
            self.stops = tuple(_read_stop(kill, ahead) for kill in self.kills.values())

    async def check_ready(self) -> None:
        """Raises RuntimeError until health has told its state once."""
        if not self.known.is_set():
            raise RuntimeError("no state of health yet")


class HealthWatch:
    """Keeps the copy fresh over one stream at a time."""

    def __init__(self, watch: Watch, copy: HealthCopy) -> None:
        self._watch = watch
        self._copy = copy
        self._backoff_seconds = BACKOFF_SECONDS_MIN

    async def run(self) -> None:
        """Follows the stream until cancelled, and opens it again whenever it ends."""
        while True:
            try:
                await self._follow()
            except (grpc.aio.AioRpcError, TimeoutError) as error:
                if self._backoff_seconds == BACKOFF_SECONDS_MIN:
                    log.warning("health_stream_lost", error=_describe(error))
            # Full jitter: gateways that lost one replica must not come back in step.
            await asyncio.sleep(random.uniform(0, self._backoff_seconds))  # noqa: S311 - no secret
            self._backoff_seconds = min(self._backoff_seconds * 2, BACKOFF_SECONDS_MAX)

    async def _follow(self) -> None:
        stream = self._watch()
        messages = aiter(stream)
        try:
            while True:
                # A silent stream is a dead one: the connection may be gone without a word.
                async with asyncio.timeout(SILENCE_SECONDS):
                    message = await anext(messages, None)
                if message is None:
                    return
                self._copy.apply(message)
                self._backoff_seconds = BACKOFF_SECONDS_MIN
        finally:
            cancel = getattr(stream, "cancel", None)
            if cancel is not None:
                cancel()


def _read_toggle(told: toggle_pb2.Toggle) -> Toggle:
    return Toggle(
        toggle_id=told.toggle_id,
        enabled=told.enabled,
        locked=told.locked,
        rules={(rule.org, rule.operation): rule.enabled for rule in told.rules},
    )


def _read_stop(kill: common_pb2.KillSwitch, ahead: float) -> Stop:
    return Stop(
        kill_id=kill.kill_id,
        message=kill.message,
        scope=dict(kill.scope),
        expire_time=_read_time(kill.expire_time, ahead) if kill.HasField("expire_time") else None,
    )


def read_state(state: common_pb2.BreakerState.ValueType) -> BreakerState:
    """Reads a breaker's state. One of a newer health counts as open: no call passes without its
    word.
    """
    return _STATES.get(state, BreakerState.OPEN)


def _read_breaker(
    told: common_pb2.ProviderHealth | common_pb2.PartHealth, ahead: float
) -> Breaker:
    state = read_state(told.state)
    forced = told.override != common_pb2.BREAKER_OVERRIDE_UNSPECIFIED
    has_closed = state is BreakerState.CLOSED and not forced
    return Breaker(
        state=state,
        probe_time=_read_time(told.probe_time, ahead) if told.HasField("probe_time") else None,
        cool_time=_read_time(told.cool_time, ahead)
        if isinstance(told, common_pb2.PartHealth) and told.HasField("cool_time")
        else None,
        close_time=_read_time(told.change_time, ahead)
        if has_closed and told.HasField("change_time")
        else None,
        forced=forced,
    )


def _read_time(instant: Timestamp, ahead: float) -> float:
    return float(instant.ToNanoseconds() / 1e9) + ahead


def _describe(error: Exception) -> str:
    return error.code().name if isinstance(error, grpc.aio.AioRpcError) else "SILENT"
