"""A call's reservation, the operations on it and their outcomes.

Life: held, then exactly one of settled, released, expired; an expired one may be written off; a
report after any of the last three makes it late. These classes are made and read for every call,
so they are plain slotted ones.
"""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from services.admission.domain.limits import Limit, Metric, Priority, Scope

if TYPE_CHECKING:
    from services.admission.domain.bindings import Binding
    from services.admission.domain.fences import Fence


class State(enum.IntEnum):
    """State of a reservation; the numbers are those of the contract and the schema."""

    HELD = 1
    SETTLED = 2
    RELEASED = 3
    EXPIRED = 4
    LATE = 5
    WRITTEN_OFF = 6


# In these states nothing is charged.
UNCHARGED = frozenset({State.RELEASED, State.WRITTEN_OFF})


class CallKey(NamedTuple):
    """Identity of a call, its reservation and its usage row."""

    org: str
    call_id: uuid.UUID


class Candidate(NamedTuple):
    """What a call would hold at most if it went to one provider's model."""

    provider: str
    model: str
    # Worst case in nano-US-dollars.
    cost_nanos: int
    breaker_epoch: int
    # Worst case in tokens.
    token_count: int = 0


@dataclass(slots=True)
class Reservation:
    """One call's hold, open or ended."""

    key: CallKey
    fingerprint: bytes
    operation: str
    provider: str
    model: str
    held_nanos: int
    # Set of counters that the hold counts on; None for a tombstone.
    set_id: uuid.UUID | None
    admit_time: dt.datetime
    expire_time: dt.datetime
    price_version: int
    breaker_epoch: int
    held_tokens: int = 0
    # The most that it may use: more than what is held if that was an adaptive estimate.
    worst_nanos: int = 0
    worst_tokens: int = 0
    state: State = State.HELD
    # Nano-US-dollars and tokens that stand in the counters' settled sums.
    settled_nanos: int = 0
    settled_tokens: int = 0
    # Newest revision of the usage row that was applied. 0: none.
    revision: int = 0
    # True once the hold was given back: what is reported after that is overrun in full.
    hold_returned: bool = False
    # Day partition among the ended ones; decided when it ends.
    id_day: dt.date | None = None

    def held(self, metric: Metric) -> int:
        """Returns what was held on a counter of this metric."""
        if metric is Metric.COST:
            return self.held_nanos
        return self.held_tokens if metric is Metric.TOKENS else 1

    def charged(self, metric: Metric) -> int:
        """Returns what an ended call is charged with on a counter of this metric."""
        if metric is Metric.COST:
            return self.settled_nanos
        if metric is Metric.TOKENS:
            return self.settled_tokens
        return int(metric is Metric.CALLS and self.state not in UNCHARGED)

    def overrun(self, metric: Metric) -> int:
        """Returns the part of what is charged that the hold did not cover."""
        return max(0, self.charged(metric) - (0 if self.hold_returned else self.held(metric)))


@dataclass(slots=True)
class Reserve:
    """Asks for a hold on the first candidate that fits."""

    key: CallKey
    fingerprint: bytes
    operation: str
    candidates: tuple[Candidate, ...]
    hold_duration: dt.timedelta
    price_version: int
    # What limits and fences can tell it by, besides the fields above.
    dimensions: Mapping[str, str] = field(default_factory=dict)
    priority: Priority = Priority.DEFAULT
    # Holds what such calls hardly ever exceed, times so many percents. 0: the worst case.
    adaptive_percent: int = 0
    # What applies on each candidate; set anew whenever the batch is prepared.
    bindings: tuple[Binding, ...] = ()

    def dimensions_on(self, provider: str, model: str) -> dict[str, str]:
        """Returns all dimensions of the call on one candidate."""
        return {
            **self.dimensions,
            "org": self.key.org,
            "operation": self.operation,
            "provider": provider,
            "model": model,
        }


@dataclass(slots=True)
class Settle:
    """Replaces the hold by what accounting booked."""

    key: CallKey
    revision: int
    total_nanos: int
    # None: unknown, charged as held.
    token_count: int | None = None


@dataclass(slots=True)
class Release:
    """Returns the hold of a call that never left."""

    key: CallKey


@dataclass(slots=True)
class Expire:
    """Ends a hold whose time has passed."""

    key: CallKey


@dataclass(slots=True)
class Extend:
    """Lets a hold live longer."""

    key: CallKey
    hold_duration: dt.timedelta
    # As at the admission: for fences.
    dimensions: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class WriteOff:
    """Takes what an expired call was charged with out of the counters."""

    key: CallKey
    # Of the gateway's audit entry. May be empty.
    audit_id: str = ""
    reason: str = ""


Operation: TypeAlias = Reserve | Settle | Release | Expire | Extend | WriteOff


@dataclass(slots=True)
class Held:
    """The call may go: its reservation. `replayed` if an earlier Reserve made it."""

    reservation: Reservation
    replayed: bool
    # Limits in shadow mode that would have denied it.
    shadow: tuple[Violation, ...] = ()
    # Of the limits and fences that decided.
    limits_version: int = 0


@dataclass(slots=True)
class Ended:
    """The call has ended: its state and what was charged."""

    state: State
    settled_nanos: int
    # Fence that covers a call that was to be extended.
    fence: Fence | None = None


@dataclass(slots=True)
class Extended:
    """The hold lives on until then."""

    expire_time: dt.datetime
    # Stops the call all the same.
    fence: Fence | None


@dataclass(slots=True)
class NotExpired:
    """The sweeper came too early, or too late: nothing changed."""


@dataclass(slots=True)
class Unknown:
    """No call with this id was admitted: nothing changed."""

    key: CallKey


@dataclass(slots=True)
class IdReused:
    """The id is known with another fingerprint: nothing changed."""

    key: CallKey


class RetryKind(enum.IntEnum):
    """What a retry delay promises; the numbers are the contract's."""

    AT = 1
    AT_LATEST = 2
    NEVER = 3
    UNKNOWN = 4


class Wait(NamedTuple):
    """When room appears, and how sure that is."""

    kind: RetryKind
    # None: unknown, or never.
    delay: dt.timedelta | None


UNKNOWN_WAIT = Wait(RetryKind.UNKNOWN, None)


@dataclass(slots=True)
class Violation:
    """One limit that a candidate would have broken."""

    limit: Limit
    scope: Scope
    usable_cap: int
    settled: int
    held: int
    requested: int
    excess: int
    # FOREVER: the window has no end.
    reset_time: dt.datetime
    wait: Wait
    candidate: Candidate


class DenialReason(enum.IntEnum):
    """Why a call must not start; the numbers are the contract's."""

    FENCED = 1
    RATE_EXCEEDED = 4
    BUDGET_EXCEEDED = 5


@dataclass(slots=True)
class Denied:
    """The call must not go; nothing changed."""

    reason: DenialReason
    message: str
    violations: tuple[Violation, ...] = ()
    wait: Wait = UNKNOWN_WAIT
    # Of the limits and fences that decided.
    limits_version: int = 0


Outcome: TypeAlias = Held | Ended | Denied | Extended | IdReused | NotExpired | Unknown
