"""Denials that the gateway decides by itself, each with what blocked and whom to ask."""

from __future__ import annotations

from collections.abc import Iterable

from gateway.domain.calls import Candidate, Route
from headgate.api.common.v1 import denial_pb2, health_pb2


def fenced(route: Route, kill: health_pb2.KillSwitch) -> denial_pb2.Denial:
    """Returns the denial of a call while calls are stopped."""
    return denial_pb2.Denial(
        reason=denial_pb2.DENIAL_REASON_FENCED,
        retry_kind=denial_pb2.RETRY_KIND_UNKNOWN,
        # The same words as admission's, whoever notices first.
        message=kill.message,
        fallback_text=route.fallback_text,
    )


def excluded(route: Route) -> denial_pb2.Denial:
    """Returns the denial of a call that excluded its whole route."""
    return denial_pb2.Denial(
        reason=denial_pb2.DENIAL_REASON_NO_CANDIDATE,
        retry_kind=denial_pb2.RETRY_KIND_NEVER,
        message=f"Operation {route.operation!r} has no candidate left: all of "
        f"{_names(route.candidates)} were excluded. Whoever owns the route can add one.",
        fallback_text=route.fallback_text,
    )


def breaker_open(
    route: Route, candidates: Iterable[Candidate], retry_delay: float | None
) -> denial_pb2.Denial:
    """Returns the denial of a call none of whose providers is fit; the delay is in seconds."""
    providers = ", ".join(sorted({candidate.provider for candidate in candidates}))
    denial = denial_pb2.Denial(
        reason=denial_pb2.DENIAL_REASON_BREAKER_OPEN,
        retry_kind=denial_pb2.RETRY_KIND_UNKNOWN,
        message=f"The circuit breaker of {providers} is open, because calls kept failing. "
        "Platform staff see its state in the status.",
        fallback_text=route.fallback_text,
    )
    if retry_delay is not None:
        # The first call after that probes; the breaker may open again.
        denial.retry_kind = denial_pb2.RETRY_KIND_AT
        denial.retry_delay.FromNanoseconds(max(0, round(retry_delay * 1e9)))
    return denial


def unpriced(route: Route, candidates: Iterable[Candidate]) -> denial_pb2.Denial:
    """Returns the denial of a call whose worst case nobody can tell, or nothing can hold."""
    return denial_pb2.Denial(
        reason=denial_pb2.DENIAL_REASON_UNPRICED_MODEL,
        retry_kind=denial_pb2.RETRY_KIND_NEVER,
        message=f"No worst case can be held for {_names(candidates)}: there is no price, or the "
        "call is too large for one. Platform staff can set a price.",
        fallback_text=route.fallback_text,
    )


def _names(candidates: Iterable[Candidate]) -> str:
    return ", ".join(str(candidate) for candidate in candidates)
