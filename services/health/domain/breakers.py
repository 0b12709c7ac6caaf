"""Values of the breakers: whom one watches, how it stands, who may probe, what an outcome says.

A provider has a breaker, and so has each of its models and each credential that fails: a part of
it. All breakers of a provider draw their epochs from one count, so a call needs to carry one
number to tell which changes of state it came after. A breaker without a row is closed, of epoch
0, so the first calls already count.
"""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from services.health.domain.signals import Signal

# A success or failure time younger than this is not written again: the row is hot.
TIME_RESOLUTION: Final = dt.timedelta(seconds=1)


class BreakerState(enum.Enum):
    """Where a breaker stands; the values are those of the schema and of the state machine."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class Forced(enum.Enum):
    """What a person decided instead of the state machine; the values are those of the schema."""

    NOT = ""
    OPEN = "open"
    CLOSED = "closed"


class Cause(enum.Enum):
    """Why a breaker changed its state; the values are those of the schema."""

    FAILURES = "failures"
    FAILURE_RATE = "failure-rate"
    SLOW_CALLS = "slow-calls"
    TIME = "time"
    PROBE_FAILED = "probe-failed"
    PROBES_SUCCEEDED = "probes-succeeded"
    FORCED = "forced"
    RESET = "reset"
    # The state is as it was: staff must hear of it all the same.
    CREDENTIAL_REFUSED = "credential-refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """Whom a breaker watches: a provider, one of its models, or one credential with it."""

    provider: str
    # Empty: not one model.
    model: str = ""
    # An org, or `org/name` if the org has several. Empty: not one credential.
    credential: str = ""

    @property
    def is_provider(self) -> bool:
        """True for the provider itself."""
        return not self.model and not self.credential

    @property
    def text(self) -> str:
        """For people and logs."""
        kind = "model" if self.model else "credential"
        name = self.model or self.credential
        return f"{self.provider} {kind} {name}" if name else self.provider


@dataclass(frozen=True, slots=True, kw_only=True)
class Breaker:
    """One breaker, as its row says."""

    key: Key
    state: BreakerState = BreakerState.CLOSED
    # Grows with each change of state; outcomes of calls admitted before it change nothing.
    epoch: int = 0
    # The newest epoch of the provider's breakers. Kept on the provider's own breaker only.
    last_epoch: int = 0
    # Failures in a row so far. Goes on counting through failed probes.
    failure_count: int = 0
    # Whose calls failed in this row: two orgs at most, because two are as good as many.
    failure_orgs: tuple[str, ...] = ()
    # Successful probes since it became half-open.
    probe_success_count: int = 0
    # How often it opened without having been closed for long between.
    open_count: int = 0
    # When probes may begin. Set while it is open and nobody forced it.
    open_until: dt.datetime | None = None
    # Until when the provider asked to be left alone. Only credentials cool.
    cool_until: dt.datetime | None = None
    # Since when the provider refuses the credential. None: it does not.
    refuse_time: dt.datetime | None = None
    forced: Forced = Forced.NOT
    # When the state last changed. None: never.
    change_time: dt.datetime | None = None
    # When a call last succeeded and failed, a second late at most. None: never.
    success_time: dt.datetime | None = None
    failure_time: dt.datetime | None = None
    # Version of health's state in which watchers learnt of it. 0: not yet.
    version: int = 0

    @property
    def is_wide(self) -> bool:
        """True if its failures suffice to open it: those of one org never do so for others."""
        return bool(self.key.credential) or len(self.failure_orgs) > 1

    def saw(self, signal: Signal, *, now: dt.datetime) -> Breaker:
        """Returns the breaker with the time of its last success or failure brought up to date."""
        if signal is Signal.SUCCEEDED and _is_old(self.success_time, now):
            return replace(self, success_time=now)
        if signal is Signal.FAILED and _is_old(self.failure_time, now):
            return replace(self, failure_time=now)
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class CallKey:
    """Identity of a call."""

    org: str
    call_id: uuid.UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """Where a call went or wants to go: whom it says something about."""

    provider: str
    # Empty: nobody knows.
    model: str
    credential: str

    @property
    def keys(self) -> tuple[Key, ...]:
        """The breakers on the way, the provider's first."""
        found = [Key(provider=self.provider)]
        if self.model:
            found.append(Key(provider=self.provider, model=self.model))
        if self.credential:
            found.append(Key(provider=self.provider, credential=self.credential))
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbePermit:
    """Leave for one call to probe one breaker, until the call ends or the permit expires."""

    key: Key
    call: CallKey
    # The half-open epoch that granted it.
    epoch: int
    expire_time: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """How one call to a provider ended."""

    way: Way
    # Newest epoch of the provider that was known when the call was admitted.
    epoch: int
    signal: Signal
    call: CallKey
    # How long the call took. None: unknown.
    latency: dt.timedelta | None = None
    # How long the provider asked to be left alone.
    cool_duration: dt.timedelta = dt.timedelta(0)

    @property
    def provider(self) -> str:
        """The provider, by which observations are decided together."""
        return self.way.provider


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeWish:
    """A call that wants to go where breakers may be half-open."""

    way: Way
    call: CallKey
    # How long its permit shall live. None: as the rules say.
    lease: dt.timedelta | None = None
    # The permits that it holds shall live longer; it wants no other.
    extends: bool = False

    @property
    def provider(self) -> str:
        """The provider, by which wishes are decided together."""
        return self.way.provider


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """All that a decision about a provider's breakers rests on."""

    provider: str
    # The provider's own breaker and those of its parts that are asked for.
    breakers: Mapping[Key, Breaker]
    # Their unexpired permits, of any epoch: a probe of an older one is still out there.
    permits: tuple[ProbePermit, ...]
    # The database's clock.
    now: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerChange:
    """What a decision changes about one breaker."""

    before: Breaker
    after: Breaker
    # Why the state changed, or what else the history keeps. None: nothing.
    cause: Cause | None = None

    @property
    def is_transition(self) -> bool:
        """True if the state changed."""
        return self.before.epoch != self.after.epoch

    @property
    def is_announced(self) -> bool:
        """True if watchers must learn of it: all that gateways act on, a credential that is
        refused, and a new provider.

        Counts and times alone are not announced; they change with every call.
        """
        before, after = self.before, self.after
        if before.version == 0 and after.key.is_provider:
            return True
        return _told(before) != _told(after)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What a decision changes about a provider's breakers."""

    provider: str
    # Of the breakers that differ.
    breakers: tuple[BreakerChange, ...] = ()
    added: tuple[ProbePermit, ...] = ()
    # Calls whose permits end, all of this provider.
    released: tuple[CallKey, ...] = ()

    @property
    def is_empty(self) -> bool:
        """True if nothing has to be written."""
        return not self.breakers and not self.added and not self.released


def _told(breaker: Breaker) -> tuple[object, ...]:
    return (
        breaker.epoch,
        breaker.last_epoch,
        breaker.forced,
        breaker.cool_until,
        breaker.refuse_time,
    )


def _is_old(time: dt.datetime | None, now: dt.datetime) -> bool:
    return time is None or now - time >= TIME_RESOLUTION
