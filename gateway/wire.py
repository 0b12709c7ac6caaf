"""Calls and decisions between the contract and the gateway's own values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

from chassis.checks import Checks
from chassis.errors import NotFound, PermissionDenied, ServiceError
from gateway import wire_dimensions, wire_words
from gateway.decisions import Admitted, DecisionOrError, Denied, Finished
from gateway.domain.calls import Call, Candidate
from gateway.domain.estimates import NO_UNITS
from gateway.principals import Principal
from headgate.api.admission.v1 import admission_pb2
from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import gateway_pb2

BATCH_SIZE_MAX: Final = 256
ORG_LENGTH_MAX: Final = 64
OPERATION_LENGTH_MAX: Final = 64
PROVIDER_LENGTH_MAX: Final = 64
MODEL_LENGTH_MAX: Final = 128
CREDENTIAL_LENGTH_MAX: Final = 64
CANDIDATE_COUNT_MAX: Final = 4
TOKEN_COUNT_MAX: Final = 100_000_000
INPUT_BYTE_COUNT_MAX: Final = 1_000_000_000
LABEL_COUNT_MAX: Final = 8
LABEL_KEY_LENGTH_MAX: Final = 64
LABEL_VALUE_LENGTH_MAX: Final = 128
# All keys and values together, in UTF-8: they travel in the permit, which has its own bound.
LABEL_BYTES_MAX: Final = 2_048

# Names that people choose; the services behind take the same.
NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")
ORG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@+-]*")
_CANONICAL_ID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_NO_ID: Final = "00000000-0000-0000-0000-000000000000"
_NO_CANDIDATES: Final[tuple[Candidate, ...]] = ()
_NO_LABELS: Final[Mapping[str, str]] = {}

_FINISHED: Final = {
    admission_pb2.RESERVATION_STATE_SETTLED: gateway_pb2.FINISHED_STATE_SETTLED,
    admission_pb2.RESERVATION_STATE_RELEASED: gateway_pb2.FINISHED_STATE_RELEASED,
    admission_pb2.RESERVATION_STATE_EXPIRED: gateway_pb2.FINISHED_STATE_EXPIRED,
    admission_pb2.RESERVATION_STATE_LATE: gateway_pb2.FINISHED_STATE_LATE,
    admission_pb2.RESERVATION_STATE_WRITTEN_OFF: gateway_pb2.FINISHED_STATE_WRITTEN_OFF,
}

Message = TypeVar("Message")
Parsed = TypeVar("Parsed")


def parse_call(
    request: gateway_pb2.AdmitCallRequest, principal: Principal, prefix: str = ""
) -> Call:
    """Checks one call. Raises InvalidArgument with every violation, or NotFound for the org."""
    checks = Checks(prefix)
    org = read_org(checks, request.org, principal)
    call_id = read_id(checks, "call_id", request.call_id)
    bound = None
    if request.HasField("max_output_token_count"):
        bound = _read_count(checks, "max_output_token_count", request.max_output_token_count)
    call = Call(
        org=org,
        call_id=call_id,
        api_key_id=principal.actor,
        operation=checks.text(
            "operation", request.operation, max_length=OPERATION_LENGTH_MAX, pattern=NAME
        ),
        parent_call_id=_read_parent(checks, request.parent_call_id, call_id),
        excluded_candidates=_read_candidates(checks, request.excluded_candidates)
        if request.excluded_candidates
        else _NO_CANDIDATES,
        input_token_count=_read_count(checks, "input_token_count", request.input_token_count),
        input_byte_count=checks.integer(
            "input_byte_count", request.input_byte_count, minimum=0, maximum=INPUT_BYTE_COUNT_MAX
        ),
        max_output_token_count=bound,
        labels=_read_labels(checks, request.labels) if request.labels else _NO_LABELS,
        dimensions=wire_dimensions.read_dimensions(checks, request),
        priority=wire_dimensions.read_priority(checks, request.priority),
        credential=_read_credential(checks, request.credential, org),
        locale=wire_words.read_locale(checks, "locale", request.locale) if request.locale else "",
        variables=wire_words.read_variables(checks, request.variables)
        if request.variables
        else wire_words.NONE,
        unit_bounds=wire_dimensions.read_unit_bounds(checks, request)
        if request.HasField("unit_bounds")
        else NO_UNITS,
        approval_id=read_id(checks, "approval_id", request.approval_id)
        if request.approval_id
        else "",
    )
    checks.raise_if_any()
    require_org(org, principal)
    require_operation(call.operation, principal)
    return call


def parse_question(request: gateway_pb2.AdmitCallRequest, principal: Principal) -> Call:
    """Checks a call that is only asked about: it needs no id of its own."""
    if request.call_id:
        return parse_call(request, principal, "call.")
    named = gateway_pb2.AdmitCallRequest(call_id=_NO_ID)
    named.MergeFrom(request)
    return parse_call(named, principal, "call.")


def parse_each(
    messages: Sequence[Message], parse: Callable[[Message, str], Parsed]
) -> list[Parsed | ServiceError]:
    """Parses the members of a batch, each by itself: a wrong member is its own error.

    Raises InvalidArgument if there are none, or too many.
    """
    if not 1 <= len(messages) <= BATCH_SIZE_MAX:
        checks = Checks()
        checks.violate("calls", f"has {len(messages)} members; send 1 to {BATCH_SIZE_MAX}")
        checks.raise_if_any()
    parsed: list[Parsed | ServiceError] = []
    for position, message in enumerate(messages):
        try:
            parsed.append(parse(message, f"calls[{position}]."))
        except ServiceError as error:
            parsed.append(error)
    return parsed


def write_decision(decision: DecisionOrError, message: gateway_pb2.CallDecision) -> None:
    """Writes one decision, or why there is none, into an answer: a message that is built first and
    put into its answer afterwards is copied at each level.
    """
    match decision:
        case Admitted():
            _write_admission(decision, message.admission)
        case Denied():
            message.denial.CopyFrom(decision.denial)
        case Finished():
            message.finished.CopyFrom(render_finished(decision))
        case ServiceError():
            message.error.CopyFrom(decision.to_member_error())


def render_finished(finished: Finished) -> gateway_pb2.FinishedCall:
    """Renders a call that has ended."""
    return gateway_pb2.FinishedCall(
        call_id=finished.call_id,
        state=_FINISHED.get(finished.ended.state, gateway_pb2.FINISHED_STATE_UNSPECIFIED),
        settled_nanos=finished.ended.settled_nanos,
    )


def parse_status_org(org: str, principal: Principal) -> str:
    """Returns whose status is asked for. Raises InvalidArgument, NotFound."""
    checks = Checks()
    name = read_org(checks, org, principal)
    checks.raise_if_any()
    require_org(name, principal)
    return name


def parse_status_watch(
    request: gateway_pb2.WatchStatusRequest, principal: Principal
) -> tuple[str, int]:
    """Returns whose status is watched, and what the watcher knows. Raises InvalidArgument."""
    checks = Checks()
    known = checks.integer("known_version", request.known_version, minimum=0, maximum=2**63 - 1)
    checks.raise_if_any()
    return parse_status_org(request.org, principal), known


def _read_credential(checks: Checks, name: str, org: str) -> str:
    """Credentials are the org's own: two orgs' of one name are two."""
    if not name:
        return org
    checks.text("credential", name, max_length=CREDENTIAL_LENGTH_MAX, pattern=ORG)
    return f"{org}/{name}"


def read_org(checks: Checks, org: str, principal: Principal) -> str:
    """Returns the org meant; an unset one is the key's only org."""
    if org in principal.orgs:
        return org
    if org:
        return checks.text("org", org, max_length=ORG_LENGTH_MAX, pattern=ORG)
    if len(principal.orgs) == 1:
        return next(iter(principal.orgs))
    checks.violate("org", f"required: the key acts for {len(principal.orgs)} orgs, name one")
    return ""


def require_org(org: str, principal: Principal) -> None:
    """Raises NotFound for an org that the key may not act for, whether or not it exists."""
    if org not in principal.orgs:
        raise NotFound("org", org)


def require_operation(operation: str, principal: Principal) -> None:
    """Raises PermissionDenied for an operation that the key was not made for."""
    if principal.operations and operation not in principal.operations:
        raise PermissionDenied(
            f"the key makes no calls for the operation {operation}", operation=operation
        )


def read_id(checks: Checks, field: str, value: str) -> str:
    """Returns an id in canonical form."""
    return value if _CANONICAL_ID.fullmatch(value) else str(checks.uuid(field, value))


def read_candidate(checks: Checks, field: str, candidate: call_pb2.Candidate) -> Candidate:
    """Returns a candidate whose names can be stored."""
    return Candidate(
        provider=checks.text(
            f"{field}.provider", candidate.provider, max_length=PROVIDER_LENGTH_MAX, pattern=NAME
        ),
        model=checks.text(
            f"{field}.model", candidate.model, max_length=MODEL_LENGTH_MAX, pattern=MODEL
        ),
    )


def _read_count(checks: Checks, field: str, value: int) -> int:
    return checks.integer(field, value, minimum=0, maximum=TOKEN_COUNT_MAX)


def _read_parent(checks: Checks, value: str, call_id: str) -> str:
    if not value:
        return ""
    parent = read_id(checks, "parent_call_id", value)
    if parent == call_id:
        checks.violate("parent_call_id", "must be another call than this one, or empty")
    return parent


def _read_candidates(
    checks: Checks, candidates: Sequence[call_pb2.Candidate]
) -> tuple[Candidate, ...]:
    if len(candidates) > CANDIDATE_COUNT_MAX:
        checks.violate(
            "excluded_candidates", f"has {len(candidates)}; at most {CANDIDATE_COUNT_MAX}"
        )
        return _NO_CANDIDATES
    return tuple(
        read_candidate(checks, f"excluded_candidates[{position}]", candidate)
        for position, candidate in enumerate(candidates)
    )


def _read_labels(checks: Checks, labels: Mapping[str, str]) -> Mapping[str, str]:
    if len(labels) > LABEL_COUNT_MAX:
        checks.violate(
            "labels", f"has {len(labels)} labels; at most {LABEL_COUNT_MAX} are allowed"
        )
        return _NO_LABELS
    size = 0
    for key, value in labels.items():
        checks.text("labels", key, max_length=LABEL_KEY_LENGTH_MAX, pattern=NAME)
        checks.text(
            f"labels[{key[:LABEL_KEY_LENGTH_MAX]!r}]", value, max_length=LABEL_VALUE_LENGTH_MAX
        )
        size += len(key.encode()) + len(value.encode())
    if size > LABEL_BYTES_MAX:
        checks.violate("labels", f"take {size} bytes together; at most {LABEL_BYTES_MAX}")
    return dict(labels)


def _write_admission(admitted: Admitted, message: gateway_pb2.Admission) -> None:
    call, hold = admitted.call, admitted.hold
    message.call_id = call.call_id
    message.org = call.org
    message.candidate.CopyFrom(hold.candidate)
    message.held_nanos = hold.held_nanos
    message.max_output_token_count = admitted.max_output_token_count
    message.permit = admitted.permit
    message.admit_time.CopyFrom(hold.admit_time)
    message.expire_time.CopyFrom(hold.expire_time)
    message.replayed = hold.replayed
    message.fallback_text = admitted.fallback.text
    message.plain_fallback_text = admitted.fallback.plain_text
    message.held_token_count = hold.held_token_count
    message.estimate_mode = (
        gateway_pb2.ESTIMATE_MODE_ADAPTIVE
        if hold.held_nanos < hold.worst_case_nanos
        else gateway_pb2.ESTIMATE_MODE_STRICT
    )
    message.limits_version = hold.limits_version
