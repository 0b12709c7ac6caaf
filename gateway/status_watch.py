"""Spreads an org's status to any number of watchers: the whole, then what changed.

Each watcher waits for the copy to move and compares what it was told with what is true now; so a
slow one skips what is superseded and costs no memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from chassis.errors import Overloaded
from gateway.domain.statuses import Banner, Level, Severity, banner_of
from gateway.domain.stops import stop_of
from gateway.domain.toggles import AI_GENERATION, is_off
from gateway.health_watch import HealthCopy
from headgate.api.common.v1 import health_pb2
from headgate.api.gateway.v1 import gateway_pb2 as pb

# Silence beyond this means that the stream is lost.
HEARTBEAT_SECONDS: Final = 1.5
# Watchers of one gateway at once; a bound, not a target.
WATCHER_COUNT_MAX: Final = 10_000
# An org's status is made once for all its watchers, and anew when the copy moves or after this: a
# stop ends by the clock.
SHARED_SECONDS: Final = 0.1
# Orgs whose status is shared at once.
SHARED_COUNT_MAX: Final = 1_000
_LEVELS: Final = {
    Level.HEALTHY: pb.PROVIDER_LEVEL_HEALTHY,
    Level.DEGRADED: pb.PROVIDER_LEVEL_DEGRADED,
    Level.DOWN: pb.PROVIDER_LEVEL_DOWN,
}
_SEVERITIES: Final = {
    Severity.WARNING: pb.BANNER_SEVERITY_WARNING,
    Severity.CRITICAL: pb.BANNER_SEVERITY_CRITICAL,
}


@dataclass(frozen=True, slots=True)
class _Shared:
    """An org's status, and when it was made of which state of the copy."""

    status: pb.OrgStatus
    moved: asyncio.Event
    time: float


class StatusWatch:
    """Tells watchers what one org may know. What it gives is shared, and not to be changed."""

    def __init__(self, copy: HealthCopy) -> None:
        self._copy = copy
        self._count = 0
        self._shared: dict[str, _Shared] = {}
        # The last difference that was made: most watchers want the same one.
        self._difference = (pb.OrgStatus(), pb.OrgStatus(), pb.OrgStatus())

    async def watch(self, org: str, *, known_version: int = 0) -> AsyncGenerator[pb.OrgStatus]:
        """Yields the org's status whenever it changes, and a heartbeat in between.

        Who knows the present version already gets no snapshot. Raises Overloaded when too many
        watch. Never ends by itself.
        """
        if self._count >= WATCHER_COUNT_MAX:
            raise Overloaded
        self._count += 1
        try:
            last = self.read(org)
            if known_version != last.version or not known_version:
                whole = pb.OrgStatus()
                whole.CopyFrom(last)
                whole.snapshot = True
                yield whole
            while True:
                await self._wait(last.version)
                now = self.read(org)
                yield self._compare(last, now)
                last = now
        finally:
            self._count -= 1

    def read(self, org: str) -> pb.OrgStatus:
        """Returns an org's whole status."""
        moved, now = self._copy.moved, self._copy.wall_time()
        known = self._shared.get(org)
        if known is not None and known.moved is moved and 0 <= now - known.time < SHARED_SECONDS:
            return known.status
        if len(self._shared) >= SHARED_COUNT_MAX:
            self._shared.clear()
        status = self._make(org)
        if known is not None and known.status == status:
            # The same one: who compares sees at once that nothing is new.
            status = known.status
        self._shared[org] = _Shared(status, moved, now)
        return status

    def _compare(self, last: pb.OrgStatus, now: pb.OrgStatus) -> pb.OrgStatus:
        before, after, difference = self._difference
        if before is not last or after is not now:
            difference = _difference(last, now)
            self._difference = (last, now, difference)
        return difference

    def _make(self, org: str) -> pb.OrgStatus:
        copy = self._copy
        known = [copy.providers[name] for name in sorted(copy.providers)]
        levels = [copy.level(each.provider, org=org) for each in known]
        status = pb.OrgStatus(
            version=copy.version,
            stale=copy.stale,
            providers=[_render(each, at) for each, at in zip(known, levels, strict=True)],
        )
        stop = stop_of(copy.stops, {"org": org}, copy.wall_time())
        toggle = copy.toggles.get(AI_GENERATION)
        banner = banner_of(
            levels,
            stop_message=None if stop is None else stop.message,
            is_switched_off=is_off(toggle, org=org, operation=""),
        )
        if banner is not None:
            status.banner.CopyFrom(_render_banner(banner))
        return status

    async def _wait(self, known_version: int) -> None:
        """Returns when there is news, or a heartbeat is due."""
        if self._copy.version != known_version:
            # It came while the last status was being sent.
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(HEARTBEAT_SECONDS):
                await self._copy.moved.wait()


def _render(provider: health_pb2.ProviderHealth, level: Level) -> pb.ProviderStatus:
    told = pb.ProviderStatus(
        provider=provider.provider,
        level=_LEVELS[level],
        call_count=provider.call_count,
        error_rate_percent=provider.error_rate_percent,
    )
    for name, source in (
        ("since_time", "change_time"),
        ("success_time", "success_time"),
        ("failure_time", "failure_time"),
        ("latency_p50_duration", "latency_p50_duration"),
        ("latency_p95_duration", "latency_p95_duration"),
    ):
        if provider.HasField(source):  # type: ignore[arg-type]  # one of its messages
            getattr(told, name).CopyFrom(getattr(provider, source))
    return told


def _render_banner(banner: Banner) -> pb.StatusBanner:
    return pb.StatusBanner(severity=_SEVERITIES[banner.severity], text=banner.text)


def _difference(last: pb.OrgStatus, now: pb.OrgStatus) -> pb.OrgStatus:
    """Returns what changed: the banner always, of the providers those that differ."""
    known = {each.provider: each for each in last.providers}
    news = pb.OrgStatus(
        version=now.version,
        stale=now.stale,
        providers=[each for each in now.providers if known.get(each.provider) != each],
    )
    if now.HasField("banner"):
        news.banner.CopyFrom(now.banner)
    return news
