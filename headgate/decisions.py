"""What Headgate answers, as plain values.

Each enum has a member `UNRECOGNIZED` for values that a newer gateway may send.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias


class CallOutcome(enum.Enum):
    """How a call ended."""

    # The provider answered in full.
    SUCCEEDED = "SUCCEEDED"
    # The provider failed: a 5xx, a timeout, a broken connection.
    PROVIDER_FAILED = "PROVIDER_FAILED"
    # The provider refused this one call: a 400, 404, 422.
    REJECTED = "REJECTED"
    # The caller stopped it. Charged at the meters seen so far, else at the hold.
    ABORTED = "ABORTED"
    # The provider asked to slow down: a 429.
    THROTTLED = "THROTTLED"


class DenialReason(enum.Enum):
    """Why a call was denied, in the order in which reasons are checked."""

    FENCED = "FENCED"
    TOGGLE_OFF = "TOGGLE_OFF"
    BREAKER_OPEN = "BREAKER_OPEN"
    UNPRICED_MODEL = "UNPRICED_MODEL"
    RATE_EXCEEDED = "RATE_EXCEEDED"
    BUDGET_EXCEEDED = "BUDGET_EXCEEDED"
    NO_CANDIDATE = "NO_CANDIDATE"
    # The call needs a person's leave and shows none, or one that does not hold for it.
    APPROVAL_REQUIRED = "APPROVAL_REQUIRED"
    APPROVAL_REFUSED = "APPROVAL_REFUSED"
    # Nobody decided in time: said by the client, not by Headgate.
    UNREACHABLE = "UNREACHABLE"
    UNRECOGNIZED = "UNRECOGNIZED"


class RetryKind(enum.Enum):
    """What a denial's `retry_delay` promises."""

    # Room appears exactly then, if nothing else happens.
    AT = "AT"
    # Room appears then at the latest.
    AT_LATEST = "AT_LATEST"
    # Waiting does not help.
    NEVER = "NEVER"
    # Nobody knows when.
    UNKNOWN = "UNKNOWN"
    UNRECOGNIZED = "UNRECOGNIZED"


class Metric(enum.Enum):
    """What a limit counts; gives the unit of its amounts."""

    CALLS = "CALLS"
    # In nano-US-dollars.
    COST = "COST"
    TOKENS = "TOKENS"
    # Calls that are open at the same time.
    CONCURRENCY = "CONCURRENCY"
    UNRECOGNIZED = "UNRECOGNIZED"


class FinishedState(enum.Enum):
    """How a finished call ended."""

    SETTLED = "SETTLED"
    RELEASED = "RELEASED"
    EXPIRED = "EXPIRED"
    LATE = "LATE"
    WRITTEN_OFF = "WRITTEN_OFF"
    UNRECOGNIZED = "UNRECOGNIZED"


class CostBasis(enum.Enum):
    """What a booked cost was computed from."""

    METERS = "METERS"
    HOLD = "HOLD"
    NONE = "NONE"
    # Staff said how much.
    STATED = "STATED"
    UNRECOGNIZED = "UNRECOGNIZED"


class ServiceState(enum.Enum):
    """Whether calls pass."""

    HEALTHY = "HEALTHY"
    DEGRADED = "DEGRADED"
    STOPPED = "STOPPED"
    UNRECOGNIZED = "UNRECOGNIZED"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to serve a call."""

    # Provider's registered name, such as "openai".
    provider: str
    # The provider's own name of the model.
    model: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """Leave to make one call to one candidate."""

    call_id: str
    org: str
    candidate: Candidate
    # The most that the call may cost, in nano-US-dollars.
    held_nanos: int
    # Bound of the output in tokens that the caller must enforce at the provider.
    max_output_tokens: int
    # Opaque; goes back with the report.
    permit: bytes = field(repr=False)
    # By the database's clock.
    admit_time: datetime
    # When the hold is charged, if no report comes.
    expire_time: datetime
    # An earlier request with this id made the hold.
    replayed: bool
    fallback_text: str
    # The same without the caller's variables: may be shown to others. Empty: there are none.
    plain_fallback_text: str = ""
    # False: nobody decided; the client let the call through, and nothing is held.
    governed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One limit that one candidate would have broken. Amounts are in the metric's unit."""

    limit_id: str
    # Whom to ask for more. Empty if the limit names nobody.
    owner: str
    metric: Metric
    # The limit's dimensions for this call. Empty: the platform.
    scope: Mapping[str, str]
    cap: int
    settled: int
    held: int
    requested: int
    excess: int
    # When the counter starts anew. None: never.
    reset_time: datetime | None
    candidate: Candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Denial:
    """Why a call must not start."""

    reason: DenialReason
    violations: tuple[Violation, ...]
    # Wait before the same call can be admitted. None: unknown, or waiting does not help.
    retry_delay: timedelta | None
    retry_kind: RetryKind
    # Sentence for people.
    message: str
    # May be shown instead of a model's answer. Empty if the route has none.
    fallback_text: str
    # The same without the caller's variables: may be shown to others. Empty: there are none.
    plain_fallback_text: str = ""
    # Why nobody decided, if the reason is UNREACHABLE.
    cause: Exception | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedCall:
    """A call that has ended; it must not go again."""

    call_id: str
    state: FinishedState
    # Nano-US-dollars charged.
    settled_nanos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """Acknowledges a booked call. It is durable."""

    call_id: str
    # Nano-US-dollars booked.
    total_nanos: int
    cost_basis: CostBasis
    # An earlier report had booked it.
    replayed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Whether calls pass, as the asked gateway knows it."""

    state: ServiceState
    # What callers are told about each kill switch in force.
    kill_messages: tuple[str, ...]
    # Providers whose breaker is not closed.
    unfit_providers: tuple[str, ...]
    # The gateway's copy may be old.
    stale: bool


Decision: TypeAlias = Admission | Denial | FinishedCall
