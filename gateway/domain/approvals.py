"""Which calls need a person's leave, and for which calls a leave holds."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from gateway.domain.calls import Call, Candidate, Route
from gateway.domain.fingerprints import fingerprint


class Need(enum.IntEnum):
    """Why a call needs a person; numbers as in the contract."""

    OPERATION = 1
    TOGGLE = 2
    COST = 3


class State(enum.IntEnum):
    """What became of a request; numbers as in the contract."""

    PENDING = 1
    APPROVED = 2
    REJECTED = 3
    EXPIRED = 4


class Flaw(enum.IntEnum):
    """Why a leave does not hold; numbers as in the contract."""

    UNKNOWN = 1
    PENDING = 2
    REJECTED = 3
    EXPIRED = 4
    OTHER_CALLER = 5
    OTHER_CALL = 6
    CHANGED = 7
    NOT_COVERED = 8


class Obstacle(enum.Enum):
    """Why somebody may not decide."""

    UNKNOWN = "unknown"
    # Nobody decides on what they asked for themselves.
    OWN = "own"
    # It was decided otherwise, or its time has passed.
    CLOSED = "closed"


_OF_STATE: Final = {
    State.PENDING: Flaw.PENDING,
    State.REJECTED: Flaw.REJECTED,
    State.EXPIRED: Flaw.EXPIRED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One request for leave, and what became of it by the database's clock."""

    approval_id: str
    position: int
    org: str
    # Canonical lower-case UUID of the one call that it is for.
    call_id: str
    operation: str
    # Public part of the API key that asks.
    requester: str
    # Of the call as people look at it; see `subject_of`.
    subject: bytes
    summary: str
    need: Need
    candidates: tuple[Candidate, ...]
    cost_nanos_max: int
    dimensions: Mapping[str, str]
    state: State
    # Its time has passed: it is neither decided nor used any more.
    is_over: bool
    create_time: dt.datetime
    expire_time: dt.datetime
    # None: nobody decided.
    decide_time: dt.datetime | None
    decider: str
    reason: str
    # Later attempts that took the place of the call.
    attempt_ids: tuple[str, ...] = ()


def find_need(route: Route, *, is_automatic: bool, cost_nanos_max: int) -> Need | None:
    """Returns why a call needs a person. None: rules alone may let it pass.

    `cost_nanos_max` is the most that it can cost on any candidate that it could go to.
    """
    if route.approval_required:
        return Need.OPERATION
    if not is_automatic:
        return Need.TOGGLE
    if route.approval_threshold_nanos and cost_nanos_max > route.approval_threshold_nanos:
        return Need.COST
    return None


def subject_of(call: Call, call_id: str) -> bytes:
    """Returns what people look at: all that its caller says of a call, whichever attempt it is."""
    plain = replace(call, call_id=call_id, parent_call_id="", excluded_candidates=())
    return fingerprint(plain)


def find_flaw(approval: Approval | None, call: Call) -> Flaw | None:
    """Returns why a leave does not hold for a call. None: it does, if candidates are left."""
    if approval is None or approval.org != call.org:
        return Flaw.UNKNOWN
    if approval.requester != call.api_key_id:
        return Flaw.OTHER_CALLER
    if approval.state is not State.APPROVED:
        return _OF_STATE[approval.state]
    if approval.call_id not in (call.call_id, call.parent_call_id):
        return Flaw.OTHER_CALL
    if approval.subject != subject_of(call, approval.call_id):
        return Flaw.CHANGED
    return Flaw.EXPIRED if approval.is_over else None


def is_covered(approval: Approval, candidate: Candidate, cost_nanos: int) -> bool:
    """Tells whether people let the call go there, at this cost."""
    return candidate in approval.candidates and cost_nanos <= approval.cost_nanos_max


def is_attempt(approval: Approval, call: Call) -> bool:
    """Tells whether this is another attempt at the call that a leave is for: there are fewer of
    them than candidates, and each has its own id.
    """
    return call.call_id != approval.call_id


def state_of(approved: bool | None, *, is_over: bool) -> State:
    """Returns what became of a request; `approved` None: nobody has decided."""
    if approved is None:
        return State.EXPIRED if is_over else State.PENDING
    return State.APPROVED if approved else State.REJECTED


def find_obstacle(
    approval: Approval | None, *, org: str, actor: str, approved: bool
) -> Obstacle | None:
    """Returns why somebody may not decide so. None: they may, or it was decided so before.

    `org` is the one that the decision names; empty: any.
    """
    if approval is None or org not in ("", approval.org):
        return Obstacle.UNKNOWN
    return judge(approval.state, approval.requester, actor=actor, approved=approved)


def judge(state: State, requester: str, *, actor: str, approved: bool) -> Obstacle | None:
    """Returns why somebody may not decide so on a request that there is."""
    if requester == actor:
        return Obstacle.OWN
    if state is State.PENDING or state is decided_state(approved=approved):
        return None
    return Obstacle.CLOSED


def decided_state(*, approved: bool) -> State:
    """Returns the state after a decision."""
    return State.APPROVED if approved else State.REJECTED


def is_decided(approval: Approval, *, approved: bool) -> bool:
    """Tells whether somebody has decided so already."""
    return approval.state is decided_state(approved=approved)
