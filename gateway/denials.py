"""Denials that the gateway decides by itself, each with what blocked and whom to ask; their texts
for end users come later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from gateway.domain.approvals import Flaw, Need
from gateway.domain.calls import Call, Candidate, Route
from gateway.domain.fitness import Breaker, PartKey
from headgate.api.common.v1 import denial_pb2

_NEEDS: Final = {
    Need.OPERATION: "each call of operation {operation!r} needs a person's leave",
    Need.TOGGLE: "calls of operation {operation!r} for {org!r} need a person's leave while the "
    "toggle auto-approval is off",
    Need.COST: "it may cost more than calls of {operation!r} may without a person's leave",
}
_FLAWS: Final = {
    Flaw.UNKNOWN: "{org!r} has no such request",
    Flaw.PENDING: "nobody has decided yet",
    Flaw.REJECTED: "somebody said no",
    Flaw.EXPIRED: "its time has passed",
    Flaw.OTHER_CALLER: "it was given to another API key",
    Flaw.OTHER_CALL: "it was given for one call, and this is another",
    Flaw.CHANGED: "the call has other fields than the one that people looked at",
    Flaw.NOT_COVERED: "it is for other candidates, or for less than this call may cost now",
}


def approval_required(call: Call, need: Need) -> denial_pb2.Denial:
    """Returns the denial of a call that needs a person's leave and shows none."""
    why = _NEEDS[need].format(operation=call.operation, org=call.org)
    return denial_pb2.Denial(
        reason=denial_pb2.DENIAL_REASON_APPROVAL_REQUIRED,
        retry_kind=denial_pb2.RETRY_KIND_UNKNOWN,
        message=f"The call was not approved: {why}. Ask for it by RequestApproval; editors of "
        f"{call.org!r} decide.",
    )


def approval_refused(call: Call, flaw: Flaw) -> denial_pb2.Denial:
    """Returns the denial of a call whose leave does not hold for it."""
    retry = denial_pb2.RETRY_KIND_UNKNOWN if flaw is Flaw.PENDING else denial_pb2.RETRY_KIND_NEVER
    return denial_pb2.Denial(
        reason=denial_pb2.DENIAL_REASON_APPROVAL_REFUSED,
        retry_kind=retry,
        approval_flaw=denial_pb2.ApprovalFlaw.ValueType(flaw.value),
        message=f"The approval {call.approval_id} does not hold for this call: "
        f"{_FLAWS[flaw].format(org=call.org)}. Editors of {call.org!r} decide.",
    )


def fenced(message: str) -> denial_pb2.Denial:
    """Returns the denial of a call while calls are stopped."""
    return denial_pb2.Denial(
        reason=denial_pb2.DENIAL_REASON_FENCED,
        retry_kind=denial_pb2.RETRY_KIND_UNKNOWN,
        # The same words as admission's, whoever notices first.
        message=message,
    )


def toggle_off(route: Route, toggle_id: str) -> denial_pb2.Denial:
    """Returns the denial of a call whose feature is switched off."""
    return denial_pb2.Denial(
        reason=denial_pb2.DENIAL_REASON_TOGGLE_OFF,
        retry_kind=denial_pb2.RETRY_KIND_UNKNOWN,
        message=f"The toggle {toggle_id} is off for operation {route.operation!r}. Platform staff "
        "can switch it on.",
    )


def excluded(route: Route) -> denial_pb2.Denial:
    """Returns the denial of a call that excluded its whole route."""
    return denial_pb2.Denial(
        reason=denial_pb2.DENIAL_REASON_NO_CANDIDATE,
        retry_kind=denial_pb2.RETRY_KIND_NEVER,
        message=f"Operation {route.operation!r} has no candidate left: all of "
        f"{_names(route.candidates)} were excluded. Whoever owns the route can add one.",
    )


def breaker_open(
    route: Route, unfit: Mapping[PartKey, Breaker], retry_delay: float | None, *, now: float
) -> denial_pb2.Denial:
    """Returns the denial of a call none of whose candidates is fit; the delay is in seconds."""
    blocks = ", ".join(_describe(key, unfit[key], now) for key in sorted(unfit))
    denial = denial_pb2.Denial(
        reason=denial_pb2.DENIAL_REASON_BREAKER_OPEN,
        retry_kind=denial_pb2.RETRY_KIND_UNKNOWN,
        message=f"No provider of operation {route.operation!r} takes calls: {blocks}. "
        "Platform staff see more in the status.",
    )
    if retry_delay is not None:
        # The first call after that probes; the breaker may open again.
        denial.retry_kind = denial_pb2.RETRY_KIND_AT
        denial.retry_delay.FromNanoseconds(max(0, round(retry_delay * 1e9)))
    return denial


def _describe(key: PartKey, breaker: Breaker, now: float) -> str:
    provider, model, credential = key
    name = provider
    if model:
        name = f"model {model!r} of {provider}"
    elif credential:
        name = f"credential {credential!r} with {provider}"
    if breaker.cool_time is not None and now < breaker.cool_time:
        return f"{name} was asked to slow down"
    if breaker.forced:
        return f"{name} was taken out by staff"
    return f"the breaker of {name} is {breaker.state.value}, because calls kept failing"


def unpriced(
    route: Route, candidates: Iterable[Candidate], unbounded: Sequence[str] = ()
) -> denial_pb2.Denial:
    """Returns the denial of a call whose worst case nobody can tell, or nothing can hold."""
    why = "there is no price, or the call is too large for one. Platform staff can set a price."
    if unbounded:
        why = f"the call must bound what they are priced by: {', '.join(unbounded)}."
    return denial_pb2.Denial(
        reason=denial_pb2.DENIAL_REASON_UNPRICED_MODEL,
        retry_kind=denial_pb2.RETRY_KIND_NEVER,
        message=f"No worst case can be held for {_names(candidates)}: {why}",
    )


def _names(candidates: Iterable[Candidate]) -> str:
    return ", ".join(str(candidate) for candidate in candidates)
