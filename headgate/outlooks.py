"""What Headgate says of calls that are not made yet, and of their limits, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from headgate.decisions import Candidate, FinishedCall, Metric, RetryKind, Violation


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """A running call after its hold was prolonged."""

    # When the hold now expires. None: the call has ended, or nothing is held.
    expire_time: datetime | None
    # How the call ended, if it has: nothing was prolonged.
    finished: FinishedCall | None
    # A kill switch covers the call: end its stream, and report what it used.
    stop: bool
    # What the kill switch tells callers.
    stop_message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateEstimate:
    """What a call would hold on one candidate."""

    candidate: Candidate
    # The most that it can cost, in nano-US-dollars.
    worst_case_nanos: int
    # What would be held: less than the worst case if the operation's estimates are adaptive.
    held_nanos: int
    held_tokens: int
    # Every limit has room for it now.
    fits: bool
    # Limits that have none.
    violations: tuple[Violation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What a call would hold. Nothing is held, and nothing promised."""

    # In order of preference.
    candidates: tuple[CandidateEstimate, ...]
    # Bound of the output in tokens that the estimate rests on.
    max_output_tokens: int
    price_version: int

    @property
    def fits(self) -> bool:
        """True if the call would be admitted to some candidate now."""
        return any(each.fits for each in self.candidates)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitState:
    """One limit that applies, and what its scope has used. Amounts are in the metric's unit."""

    limit_id: str
    metric: Metric
    # The limit's dimensions for this call. Empty: the platform.
    scope: Mapping[str, str]
    # None: no limit applies to the counter any more.
    cap: int | None
    settled: int
    held: int
    # When the counter starts anew. None: never, or without a moment.
    end_time: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsState:
    """The limits that apply to a call, as they stand."""

    # The call would be admitted to some candidate now.
    open: bool
    limits: tuple[LimitState, ...]
    # If it would not: wait before it would. None: unknown, or never.
    retry_delay: timedelta | None
    retry_kind: RetryKind
    # Version of the limits.
    version: int
