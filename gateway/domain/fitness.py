"""Whether calls are stopped, which providers are fit, and what that leaves of a route."""

from __future__ import annotations

import enum
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.domain.calls import Candidate

# After a breaker has closed, its share of the calls that have another way grows for so long: a
# provider that has just come back must not get all of them at once.
RAMP_SECONDS: Final = 15.0
_CRC_COUNT: Final = 2**32

# Provider, model, credential; of the last two at most one.
PartKey = tuple[str, str, str]


class BreakerState(enum.Enum):
    """State of a circuit breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Overall(enum.Enum):
    """State of everything together."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    STOPPED = "stopped"


class Fit(enum.Enum):
    """What breakers say to one call."""

    # Calls pass.
    PASS = "pass"  # noqa: S105 - not a password
    # A call may pass if health grants it a probe.
    PROBE = "probe"
    # No call passes yet.
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """A breaker, as health last told. Times are in seconds since 1970 by the gateway's clock."""

    state: BreakerState
    # While open: when probes may begin. None: nobody knows; staff forced it open.
    probe_time: float | None = None
    # Until when the provider wants no calls. None: it takes them.
    cool_time: float | None = None
    # When it closed, if it was open before.
    close_time: float | None = None
    # Staff decided; the state says what.
    forced: bool = False

    def is_plain(self, now: float) -> bool:
        """Tells whether calls pass as if there were no breaker."""
        cools = self.cool_time is not None and now < self.cool_time
        return self.state is BreakerState.CLOSED and not cools and not self.ramps(now)

    def ramps(self, now: float) -> bool:
        """Tells whether it has closed only just now."""
        return self.close_time is not None and now < self.close_time + RAMP_SECONDS


@dataclass(slots=True)
class Breakers:
    """What gateways act on: the breakers that do not simply let calls pass."""

    unfit: dict[PartKey, Breaker] = field(default_factory=dict)
    # Newest epoch of each provider's breakers.
    epochs: dict[str, int] = field(default_factory=dict)

    def epoch(self, provider: str) -> int:
        """Returns the newest epoch that is known of a provider; none is known of a new one."""
        return self.epochs.get(provider, 0)

    def put(self, key: PartKey, breaker: Breaker, now: float) -> None:
        """Takes what health told of one breaker."""
        if breaker.is_plain(now):
            self.unfit.pop(key, None)
        else:
            self.unfit[key] = breaker

    def forget_plain(self, now: float) -> None:
        """Drops what time has made fit."""
        if self.unfit:
            plain = [key for key, breaker in self.unfit.items() if breaker.is_plain(now)]
            for key in plain:
                del self.unfit[key]


def fit(breaker: Breaker | None, now: float) -> Fit:
    """Tells whether a call may pass a breaker now. None, never observed: it passes.

    `now` is in seconds since 1970 by the gateway's clock, which may be wrong: health decides, and
    refuses a probe that is asked for too early.
    """
    if breaker is None:
        return Fit.PASS
    if breaker.cool_time is not None and now < breaker.cool_time:
        return Fit.REFUSE
    if breaker.state is BreakerState.CLOSED:
        return Fit.PASS
    if breaker.state is BreakerState.HALF_OPEN:
        return Fit.PROBE
    if breaker.forced or (breaker.probe_time is not None and now < breaker.probe_time):
        return Fit.REFUSE
    return Fit.PROBE


# Not frozen: made for every call, and a frozen one takes three times as long to make.
@dataclass(slots=True, kw_only=True)
class Survey:
    """What the breakers leave of a route's candidates."""

    # Candidates that all breakers let pass, in order.
    fit: tuple[Candidate, ...]
    # Candidates before the first fit one that may ask for a probe, in order. Those after it are
    # not worth a probe: the call would hardly ever go there.
    probes: tuple[Candidate, ...]
    # Seconds until the first candidate that is refused now takes calls or probes. None: nobody
    # knows.
    retry_delay: float | None


def survey(
    candidates: Sequence[Candidate],
    unfit: Mapping[PartKey, Breaker],
    *,
    credential: str,
    call_id: str,
    now: float,
) -> Survey:
    """Walks the candidates in order of preference past the breakers on their ways."""
    if not unfit:
        # Nearly always, and on every call's way.
        return Survey(fit=tuple(candidates), probes=(), retry_delay=None)
    passing: list[Candidate] = []
    ramping: list[Candidate] = []
    probes: list[Candidate] = []
    delays: list[float] = []
    for candidate in candidates:
        breakers = _on_the_way(candidate, unfit, credential)
        said = {fit(breaker, now) for breaker in breakers}
        if Fit.REFUSE in said:
            delay = _delay(breakers, now)
            if delay is not None:
                delays.append(delay)
        elif Fit.PROBE in said:
            if not passing and not ramping:
                probes.append(candidate)
        elif _waits(breakers, call_id, now):
            ramping.append(candidate)
        else:
            passing.append(candidate)
    return Survey(
        fit=(*passing, *ramping),
        probes=tuple(probes),
        retry_delay=min(delays) if delays and not probes else None,
    )


def overall(states: Iterable[BreakerState], *, stopped: bool) -> Overall:
    """Sums up for people: stopped beats degraded beats healthy."""
    if stopped:
        return Overall.STOPPED
    if any(state is not BreakerState.CLOSED for state in states):
        return Overall.DEGRADED
    return Overall.HEALTHY


def blocking(
    candidate: Candidate, unfit: Mapping[PartKey, Breaker], *, credential: str, now: float
) -> list[PartKey]:
    """Returns the breakers that do not let a call pass to a candidate, the provider's first."""
    return [
        key
        for key in _keys(candidate, credential)
        if (breaker := unfit.get(key)) is not None and fit(breaker, now) is not Fit.PASS
    ]


def _keys(candidate: Candidate, credential: str) -> tuple[PartKey, ...]:
    provider = candidate.provider
    return (provider, "", ""), (provider, candidate.model, ""), (provider, "", credential)


def _on_the_way(
    candidate: Candidate, unfit: Mapping[PartKey, Breaker], credential: str
) -> list[Breaker]:
    found = map(unfit.get, _keys(candidate, credential))
    return [breaker for breaker in found if breaker is not None]


def _delay(breakers: Iterable[Breaker], now: float) -> float | None:
    """Returns when the last of the breakers that refuse may let a call pass."""
    delay = 0.0
    for breaker in breakers:
        if fit(breaker, now) is not Fit.REFUSE:
            continue
        cools = breaker.cool_time is not None and now < breaker.cool_time
        until = breaker.cool_time if cools else breaker.probe_time
        if until is None or (breaker.forced and not cools):
            return None
        delay = max(delay, until - now)
    return delay


def _waits(breakers: Iterable[Breaker], call_id: str, now: float) -> bool:
    """Tells whether a call still takes another way, past breakers that have closed just now."""
    for breaker in breakers:
        if breaker.ramps(now) and breaker.close_time is not None:
            share = (now - breaker.close_time) / RAMP_SECONDS
            if zlib.crc32(call_id.encode()) >= share * _CRC_COUNT:
                return True
    return False
