"""The gateway's copy of health's state, kept by a stream."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Final

import grpc
import structlog

from chassis import clock
from gateway.domain.fitness import Breaker, BreakerState
from headgate.api.common.v1 import health_pb2 as common_pb2
from headgate.api.health.v1 import health_pb2

# Health speaks at least every two seconds: three silences in a row mean that the stream is lost.
STALE_SECONDS: Final = 6.0
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
    """What health told last. While it is stale the last copy still holds: admission's own fence
    decides about kills, and health about probes.
    """

    def __init__(self, *, now: clock.Clock = clock.monotonic) -> None:
        self._now = now
        self._heard: float | None = None
        # Set from the first word of health on.
        self.known = asyncio.Event()
        self.version = 0
        self.breakers: dict[str, Breaker] = {}
        self.providers: dict[str, common_pb2.ProviderHealth] = {}
        self.kills: dict[str, common_pb2.KillSwitch] = {}

    @property
    def kill(self) -> common_pb2.KillSwitch | None:
        """The kill switch that stops calls, if any does: from the intent until it is lifted."""
        return next(iter(self.kills.values()), None) if self.kills else None

    @property
    def stale(self) -> bool:
        """Whether the copy may be old."""
        return self._heard is None or self._now() - self._heard > STALE_SECONDS

    def apply(self, message: health_pb2.WatchResponse) -> None:
        """Takes a snapshot, a change or a heartbeat; an old change changes nothing."""
        self._heard = self._now()
        self.known.set()
        if message.snapshot:
            self.breakers, self.providers, self.kills = {}, {}, {}
        elif message.version <= self.version:
            return
        self.version = message.version
        for provider in message.providers:
            self.providers[provider.provider] = provider
            self.breakers[provider.provider] = _read_breaker(provider)
        for kill in message.kills:
            if kill.state == common_pb2.KILL_STATE_RESUMED:
                self.kills.pop(kill.kill_id, None)
            else:
                self.kills[kill.kill_id] = kill

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
                async with asyncio.timeout(STALE_SECONDS):
                    message = await anext(messages, None)
                if message is None:
                    return
                self._copy.apply(message)
                self._backoff_seconds = BACKOFF_SECONDS_MIN
        finally:
            cancel = getattr(stream, "cancel", None)
            if cancel is not None:
                cancel()


def _read_breaker(provider: common_pb2.ProviderHealth) -> Breaker:
    return Breaker(
        # A state of a newer health is treated as open: no call passes without its word.
        state=_STATES.get(provider.state, BreakerState.OPEN),
        epoch=provider.epoch,
        probe_time=provider.probe_time.ToNanoseconds() / 1e9
        if provider.HasField("probe_time")
        else None,
    )


def _describe(error: Exception) -> str:
    return error.code().name if isinstance(error, grpc.aio.AioRpcError) else "SILENT"
