"""Whether calls are stopped, which providers are fit, and what that leaves of a route."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gateway.domain.calls import Candidate


class BreakerState(enum.Enum):
    """State of a provider's circuit breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Overall(enum.Enum):
    """State of everything together."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    STOPPED = "stopped"


class Fit(enum.Enum):
    """What a breaker says to one call."""

    # Calls pass.
    PASS = "pass"  # noqa: S105 - not a password
    # A call may pass if health grants it a probe.
    PROBE = "probe"
    # No call passes yet.
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """A provider's breaker, as health last told."""

    state: BreakerState
    epoch: int
    # While open: when probes may begin, in seconds since 1970. None: unknown.
    probe_time: float | None = None


def fit(breaker: Breaker | None, now: float) -> Fit:
    """Tells whether a call may pass a breaker now. None, never observed: it passes.

    `now` is in seconds since 1970 by the gateway's clock, which may be wrong: health decides, and
    refuses a probe that is asked for too early.
    """
    if breaker is None or _is_closed(breaker):
        return Fit.PASS
    if breaker.state is BreakerState.HALF_OPEN:
        return Fit.PROBE
    if breaker.probe_time is None or breaker.probe_time <= now:
        return Fit.PROBE
    return Fit.REFUSE


# Not frozen: made for every call, and a frozen one takes three times as long to make.
@dataclass(slots=True, kw_only=True)
class Survey:
    """What the breakers leave of a route's candidates."""

    # Candidates whose breaker is closed, in order.
    fit: tuple[Candidate, ...]
    # Candidates before the first fit one that may ask for a probe, in order. Those after it are
    # not worth a probe: the call would hardly ever go there.
    probes: tuple[Candidate, ...]
    # Seconds until the first of the open breakers takes probes. None: nobody knows.
    retry_delay: float | None


def _is_closed(breaker: Breaker | None) -> bool:
    return breaker is None or breaker.state is BreakerState.CLOSED


def survey(
    candidates: Sequence[Candidate], breakers: Mapping[str, Breaker], *, now: float
) -> Survey:
    """Walks the candidates in order of preference past their breakers."""
    if all(_is_closed(breakers.get(candidate.provider)) for candidate in candidates):
        # Nearly always, and on every call's way.
        return Survey(fit=tuple(candidates), probes=(), retry_delay=None)
    passing: list[Candidate] = []
    probes: list[Candidate] = []
    delays: list[float] = []
    for candidate in candidates:
        breaker = breakers.get(candidate.provider)
        match fit(breaker, now):
            case Fit.PASS:
                passing.append(candidate)
            case Fit.PROBE if not passing:
                probes.append(candidate)
            case Fit.REFUSE if breaker is not None and breaker.probe_time is not None:
                delays.append(breaker.probe_time - now)
    return Survey(
        fit=tuple(passing),
        probes=tuple(probes),
        retry_delay=min(delays) if delays and not probes else None,
    )


def overall(breakers: Iterable[Breaker], *, stopped: bool) -> Overall:
    """Sums up for people: stopped beats degraded beats healthy."""
    if stopped:
        return Overall.STOPPED
    if any(breaker.state is not BreakerState.CLOSED for breaker in breakers):
        return Overall.DEGRADED
    return Overall.HEALTHY
