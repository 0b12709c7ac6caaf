"""Values of the breakers: what one provider's breaker is, who may probe, what an outcome says.

A provider without a row is a closed breaker of epoch 0, so the first calls to it already count.
"""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from dataclasses import dataclass, replace
from typing import Final

# A success or failure time younger than this is not written again: the row is hot.
TIME_RESOLUTION: Final = dt.timedelta(seconds=1)


class BreakerState(enum.Enum):
    """Where a breaker stands; the values are those of the schema and of the state machine."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Outcome(enum.Enum):
    """What the end of a call says about its provider."""

    SUCCEEDED = 1
    FAILED = 2
    # Rejected, aborted or throttled: says nothing, but the call no longer probes.
    NEUTRAL = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRules:
    """When breakers open, how long for, and how they close again."""

    # Failures in a row, fleet-wide in commit order, that open a closed breaker.
    failure_threshold: int
    # How long an open breaker refuses before it lets probes pass.
    open_duration: dt.timedelta
    # Most probes outstanding at once, fleet-wide.
    probe_count_max: int
    # Successful probes that close a half-open breaker.
    probe_success_threshold: int
    # How long a probe's permit lives without an outcome.
    probe_duration: dt.timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """One provider's breaker, as its row says."""

    provider: str
    state: BreakerState
    # Grows by one with each change of state; outcomes of another epoch change nothing.
    epoch: int
    # Failures in a row so far. Goes on counting through failed probes.
    failure_count: int
    # Successful probes since it became half-open.
    probe_success_count: int
    # When probes may begin. Set while open, and only then.
    open_until: dt.datetime | None
    # When the state last changed. None: never.
    change_time: dt.datetime | None
    # When a call last succeeded and failed, a second late at most. None: never.
    success_time: dt.datetime | None
    failure_time: dt.datetime | None
    # Version of health's state in which watchers learnt of it. 0: not yet.
    version: int

    def moved(self, state: BreakerState, *, rules: BreakerRules, now: dt.datetime) -> Breaker:
        """Returns the breaker in another state, in the next epoch."""
        is_open = state is BreakerState.OPEN
        return replace(
            self,
            state=state,
            epoch=self.epoch + 1,
            open_until=now + rules.open_duration if is_open else None,
            change_time=now,
        )

    def saw(self, outcome: Outcome, *, now: dt.datetime) -> Breaker:
        """Returns the breaker with the time of its last success or failure brought up to date."""
        if outcome is Outcome.SUCCEEDED and _is_old(self.success_time, now):
            return replace(self, success_time=now)
        if outcome is Outcome.FAILED and _is_old(self.failure_time, now):
            return replace(self, failure_time=now)
        return self


def unknown_breaker(provider: str) -> Breaker:
    """Returns the breaker of a provider that nobody has observed yet."""
    return Breaker(
        provider=provider,
        state=BreakerState.CLOSED,
        epoch=0,
        failure_count=0,
        probe_success_count=0,
        open_until=None,
        change_time=None,
        success_time=None,
        failure_time=None,
        version=0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CallKey:
    """Identity of a call."""

    org: str
    call_id: uuid.UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbePermit:
    """Leave for one call to probe a provider, until the call ends or the permit expires."""

    call: CallKey
    # The half-open epoch that granted it.
    epoch: int
    expire_time: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """How one call to a provider ended."""

    provider: str
    # Epoch of the breaker when the call was admitted.
    epoch: int
    outcome: Outcome
    call: CallKey


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeWish:
    """A call that wants to probe a provider."""

    provider: str
    call: CallKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that a decision about one breaker rests on."""

    breaker: Breaker
    # Unexpired permits of the provider, of any epoch: a probe of an older one is still out there.
    permits: tuple[ProbePermit, ...]
    # The database's clock.
    now: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerChange:
    """What a decision changes about one breaker; empty if before and after are equal."""

    before: Breaker
    after: Breaker
    added: tuple[ProbePermit, ...] = ()
    # Calls whose permits end.
    released: tuple[CallKey, ...] = ()

    @property
    def is_empty(self) -> bool:
        """True if nothing has to be written."""
        return self.before == self.after and not self.added and not self.released

    @property
    def is_transition(self) -> bool:
        """True if the state changed."""
        return self.before.epoch != self.after.epoch

    @property
    def is_announced(self) -> bool:
        """True if watchers must learn of it: a new state, or a provider seen for the first time.

        Counts and times alone are not announced; they change with every call.
        """
        return self.is_transition or (self.before.version == 0 and self.before != self.after)


def _is_old(time: dt.datetime | None, now: dt.datetime) -> bool:
    return time is None or now - time >= TIME_RESOLUTION
