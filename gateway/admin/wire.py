"""Keys, routes and audit entries between the contract and the gateway's own values."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.checks import Checks
from gateway import wire
from gateway.domain.calls import Candidate, Route
from gateway.keys import Role
from gateway.store import AuditRecord, KeyRecord
from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import admin_pb2 as pb

NAME_LENGTH_MAX: Final = 128
KEY_ID_LENGTH_MAX: Final = 32
ORG_COUNT_MAX: Final = 64
FALLBACK_LENGTH_MAX: Final = 4_096
DEFAULT_MAX_OUTPUT_TOKENS: Final = 4_096
DEFAULT_HOLD_SECONDS: Final = 600
HOLD_SECONDS_MAX: Final = 86_400
# What people lay texts out with.
_LAYOUT: Final = str.maketrans("\n\t", "  ")

_ROLES: Final = {pb.ROLE_BACKEND: Role.BACKEND, pb.ROLE_ADMIN: Role.ADMIN}
_RENDERED_ROLES: Final = {role: number for number, role in _ROLES.items()}
_STATES: Final = {
    None: pb.AUDIT_STATE_INTENDED,
    True: pb.AUDIT_STATE_DONE,
    False: pb.AUDIT_STATE_FAILED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedKey:
    """A key that somebody wants."""

    name: str
    role: Role
    orgs: tuple[str, ...]


def parse_new_key(request: pb.CreateApiKeyRequest) -> WantedKey:
    """Checks a key to create. Raises InvalidArgument."""
    checks = Checks()
    checks.text("name", request.name, max_length=NAME_LENGTH_MAX)
    checks.choice("role", request.role, allowed=_ROLES)
    if request.role == pb.ROLE_ADMIN and request.orgs:
        checks.violate("orgs", "must be empty: an admin key acts for no org")
    if request.role == pb.ROLE_BACKEND and not 1 <= len(request.orgs) <= ORG_COUNT_MAX:
        checks.violate("orgs", f"has {len(request.orgs)}; name 1 to {ORG_COUNT_MAX}")
    else:
        _check_orgs(checks, request)
    checks.raise_if_any()
    return WantedKey(name=request.name, role=_ROLES[request.role], orgs=tuple(request.orgs))


def parse_key_id(request: pb.RevokeApiKeyRequest) -> str:
    """Returns a key's public part. Raises InvalidArgument."""
    checks = Checks()
    key_id = checks.text("key_id", request.key_id, max_length=KEY_ID_LENGTH_MAX)
    checks.raise_if_any()
    return key_id


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


def render_key(key: KeyRecord) -> pb.ApiKey:
    """Renders a key without its secret."""
    return pb.ApiKey(
        key_id=key.key_id,
        name=key.name,
        role=_RENDERED_ROLES[key.role],
        orgs=key.orgs,
        create_time=_render_time(key.create_time),
        revoke_time=None if key.revoke_time is None else _render_time(key.revoke_time),
    )


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
        create_time=_render_time(entry.create_time),
        actor=entry.actor,
        action=entry.action,
        target=entry.target,
        request_json=entry.request_json,
        state=_STATES[entry.done],
        error=entry.error,
    )


def _check_orgs(checks: Checks, request: pb.CreateApiKeyRequest) -> None:
    for position, org in enumerate(request.orgs):
        checks.text(f"orgs[{position}]", org, max_length=wire.ORG_LENGTH_MAX, pattern=wire.ORG)
    if len(set(request.orgs)) < len(request.orgs):
        checks.violate("orgs", "names an org twice; name each once")


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


def _render_time(instant: dt.datetime) -> Timestamp:
    time = Timestamp()
    time.FromDatetime(instant)
    return time
