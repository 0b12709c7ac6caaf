"""Denials that the gateway decides by itself, each with what blocked and whom to ask; their texts
for end users come later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gateway.domain.calls import Candidate, Route
from gateway.domain.fitness import Breaker, PartKey
from headgate.api.common.v1 import denial_pb2


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
