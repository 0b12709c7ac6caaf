"""Stops of calls, as health last told: which of them cover a call, and what they leave of a route.

Admission's fences are the authority. A stop that the gateway cannot judge, because it is about
something that the gateway does not know of the call, is left to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gateway.domain.calls import Call, Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """One stop of calls."""

    kill_id: str
    # What callers are told.
    message: str
    # Values by dimension that a call must have. Empty: every call is stopped.
    scope: Mapping[str, str]
    # When it lifts itself, in seconds since 1970 by the gateway's clock. None: never.
    expire_time: float | None = None


def values_of(call: Call) -> dict[str, str]:
    """Returns what is known of a call before it has a candidate."""
    return {"org": call.org, "operation": call.operation, "api_key": call.api_key_id}


def stop_of(stops: Iterable[Stop], values: Mapping[str, str], now: float) -> Stop | None:
    """Returns a stop that covers a call wherever it would go, if there is one."""
    for stop in stops:
        if _lasts(stop, now) and all(
            values.get(name) == each for name, each in stop.scope.items()
        ):
            return stop
    return None


def without_stopped(
    stops: Sequence[Stop], candidates: Iterable[Candidate], values: Mapping[str, str], now: float
) -> tuple[list[Candidate], Stop | None]:
    """Drops the candidates that are stopped; returns those that are left, and one of the stops."""
    left: list[Candidate] = []
    dropped: Stop | None = None
    for candidate in candidates:
        ways = {**values, "provider": candidate.provider, "model": candidate.model}
        stop = stop_of(stops, ways, now)
        if stop is None:
            left.append(candidate)
        else:
            dropped = dropped or stop
    return left, dropped


def _lasts(stop: Stop, now: float) -> bool:
    return stop.expire_time is None or now < stop.expire_time
