"""Routes and audit entries between the contract and the gateway's own values."""

from __future__ import annotations

from typing import Final

from chassis.checks import Checks
from gateway import wire
from gateway.admin.open_entries import OUTCOME_UNKNOWN
from gateway.admin.wire_keys import render_time
from gateway.audit_store import ChainRecord
from gateway.domain.calls import Candidate, Route
from gateway.store import AuditRecord
from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import admin_pb2 as pb

FALLBACK_LENGTH_MAX: Final = 4_096
DEFAULT_MAX_OUTPUT_TOKENS: Final = 4_096
DEFAULT_HOLD_SECONDS: Final = 600
HOLD_SECONDS_MAX: Final = 86_400
# What people lay texts out with.
_LAYOUT: Final = str.maketrans("\n\t", "  ")

_STATES: Final = {
    None: pb.AUDIT_STATE_INTENDED,
    True: pb.AUDIT_STATE_DONE,
    False: pb.AUDIT_STATE_FAILED,
}


def parse_route(request: pb.PutRouteRequest) -> Route:
    """Checks a route; what is unset gets its default. Raises InvalidArgument."""
    checks, route = Checks("route."), request.route
    _check_operation(checks, "operation", route.operation)
    parsed = Route(
        operation=route.operation,
        candidates=_read_candidates(checks, route),
        default_max_output_token_count=checks.integer(
            "default_max_output_token_count",
            route.default_max_output_token_count or DEFAULT_MAX_OUTPUT_TOKENS,
            minimum=1,
            maximum=wire.TOKEN_COUNT_MAX,
        ),
        fallback_text=route.fallback_text,
        hold_seconds=checks.integer(
            "hold_seconds",
            route.hold_seconds or DEFAULT_HOLD_SECONDS,
            minimum=1,
            maximum=HOLD_SECONDS_MAX,
        ),
    )
    checks.text(
        "fallback_text",
        route.fallback_text.translate(_LAYOUT).strip(),
        min_length=0,
        max_length=FALLBACK_LENGTH_MAX,
    )
    checks.raise_if_any()
    return parsed


def parse_operation(request: pb.DeleteRouteRequest) -> str:
    """Returns the operation. Raises InvalidArgument."""
    checks = Checks()
    _check_operation(checks, "operation", request.operation)
    checks.raise_if_any()
    return request.operation


def render_route(route: Route) -> pb.Route:
    """Renders a route."""
    return pb.Route(
        operation=route.operation,
        candidates=[
            call_pb2.Candidate(provider=each.provider, model=each.model)
            for each in route.candidates
        ],
        default_max_output_token_count=route.default_max_output_token_count,
        fallback_text=route.fallback_text,
        hold_seconds=route.hold_seconds,
    )


def render_entry(entry: AuditRecord) -> pb.AuditEntry:
    """Renders an audit entry with its outcome."""
    return pb.AuditEntry(
        audit_id=entry.audit_id,
        create_time=render_time(entry.create_time),
        actor=entry.actor,
        action=entry.action,
        target=entry.target,
        request_json=entry.request_json,
        state=_state(entry),
        error=entry.error,
        reason=entry.reason,
    )


def _state(entry: AuditRecord) -> pb.AuditState.ValueType:
    if entry.done is False and entry.error == OUTCOME_UNKNOWN:
        return pb.AUDIT_STATE_UNKNOWN
    return _STATES[entry.done]


def render_record(record: ChainRecord) -> pb.AuditRecord:
    """Renders a link of the audit log's chain."""
    kind = pb.AUDIT_RECORD_KIND_INTENT if record.is_intent else pb.AUDIT_RECORD_KIND_OUTCOME
    return pb.AuditRecord(
        position=record.position,
        kind=kind,
        audit_id=record.audit_id,
        create_time=render_time(record.create_time),
        actor=record.actor,
        action=record.action,
        target=record.target,
        reason=record.reason,
        request_json=record.request_json,
        done=bool(record.done),
        error=record.error,
        hash=record.hash,
    )


def _check_operation(checks: Checks, field: str, operation: str) -> None:
    checks.text(field, operation, max_length=wire.OPERATION_LENGTH_MAX, pattern=wire.NAME)


def _read_candidates(checks: Checks, route: pb.Route) -> tuple[Candidate, ...]:
    count = len(route.candidates)
    if not 1 <= count <= wire.CANDIDATE_COUNT_MAX:
        checks.violate("candidates", f"has {count}; name 1 to {wire.CANDIDATE_COUNT_MAX}")
        return ()
    candidates = tuple(
        wire.read_candidate(checks, f"candidates[{position}]", each)
        for position, each in enumerate(route.candidates)
    )
    if len(set(candidates)) < count:
        checks.violate("candidates", "names a candidate twice; name each once")
    return candidates
