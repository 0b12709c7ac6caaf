"""A call's reservation and the operations on it.

Life: held, then exactly one of settled, released, expired; a report after expiry or release makes
it late. These classes are made and read for every call, so they are plain slotted ones.
"""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from services.admission.domain.limits import Limit


class State(enum.IntEnum):
    """State of a reservation; the numbers are those of the contract and the schema."""

    HELD = 1
    SETTLED = 2
    RELEASED = 3
    EXPIRED = 4
    LATE = 5


class CallKey(NamedTuple):
    """Identity of a call, its reservation and its usage row."""

    org: str
    call_id: uuid.UUID


class Candidate(NamedTuple):
    """What a call would hold if it went to one provider's model."""

    provider: str
    model: str
    # Worst case in nano-US-dollars.
    cost_nanos: int
    breaker_epoch: int


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
    state: State = State.HELD
    # Nano-US-dollars that stand in the counters' settled sums.
    settled_nanos: int = 0
    # Newest revision of the usage row that was applied. 0: none.
    revision: int = 0
    # True once the hold was given back: what is reported after that is overrun in full.
    hold_returned: bool = False
    # Day partition among the ended ones; decided when it ends.
    id_day: dt.date | None = None


@dataclass(slots=True)
class Reserve:
    """Asks for a hold on the first candidate that fits."""

    key: CallKey
    fingerprint: bytes
    operation: str
    candidates: tuple[Candidate, ...]
    hold_duration: dt.timedelta
    price_version: int


@dataclass(slots=True)
class Settle:
    """Replaces the hold by what accounting booked."""

    key: CallKey
    revision: int
    total_nanos: int


@dataclass(slots=True)
class Release:
    """Returns the hold of a call that never left."""

    key: CallKey


@dataclass(slots=True)
class Expire:
    """Ends a hold whose time has passed."""

    key: CallKey


Operation: TypeAlias = Reserve | Settle | Release | Expire


@dataclass(slots=True)
class Held:
    """The call may go: its reservation. `replayed` if an earlier Reserve made it."""

    reservation: Reservation
    replayed: bool


@dataclass(slots=True)
class Ended:
    """The call has ended: its state and what was charged."""

    state: State
    settled_nanos: int


@dataclass(slots=True)
class NotExpired:
    """The sweeper came too early, or too late: nothing changed."""


@dataclass(slots=True)
class IdReused:
    """The id is known with another fingerprint: nothing changed."""

    key: CallKey


@dataclass(slots=True)
class Violation:
    """One limit that a candidate would have broken."""

    limit: Limit
    scope: tuple[tuple[str, str], ...]
    settled: int
    held: int
    requested: int
    excess: int
    reset_time: dt.datetime
    candidate: Candidate


class DenialReason(enum.IntEnum):
    """Why a call must not start; the numbers are the contract's."""

    FENCED = 1
    RATE_EXCEEDED = 4
    BUDGET_EXCEEDED = 5


class RetryKind(enum.IntEnum):
    """What a retry delay promises; the numbers are the contract's."""

    AT = 1
    AT_LATEST = 2
    NEVER = 3
    UNKNOWN = 4


@dataclass(slots=True)
class Denied:
    """The call must not go; nothing changed."""

    reason: DenialReason
    message: str
    violations: tuple[Violation, ...] = ()
    retry_kind: RetryKind = RetryKind.UNKNOWN
    retry_delay: dt.timedelta | None = None


Outcome: TypeAlias = Held | Ended | Denied | IdReused | NotExpired
