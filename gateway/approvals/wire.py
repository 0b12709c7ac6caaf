"""Requests for leave between the contract and the gateway's own values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from google.protobuf.duration_pb2 import Duration

from chassis.checks import Checks
from gateway import wire
from gateway.admin.wire_keys import render_time
from gateway.domain.approvals import Approval, Need, State
from gateway.domain.calls import Call
from gateway.principals import Principal
from gateway.wire_words import LAYOUT
from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import approval_admin_pb2 as admin_pb
from headgate.api.gateway.v1 import approval_pb2, gateway_pb2

TEXT_LENGTH_MAX: Final = 1_024
LIFETIME_SECONDS_DEFAULT: Final = 86_400
LIFETIME_SECONDS_MIN: Final = 60
# Less than call ids are remembered for: a leave of a call that ended finds it ended.
LIFETIME_SECONDS_MAX: Final = 7 * 86_400
_NANOS_PER_SECOND: Final = 1_000_000_000

_Decision: TypeAlias = admin_pb.ApproveCallRequest | admin_pb.RejectCallRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a backend wants people to be asked."""

    call: Call
    summary: str
    lifetime_seconds: float


def parse_request(request: gateway_pb2.RequestApprovalRequest, who: Principal) -> Question:
    """Checks a request. Raises InvalidArgument, NotFound for the org."""
    checks = Checks()
    if request.call.approval_id:
        checks.violate("call.approval_id", "must be empty: that is what you ask for")
    read_text(checks, "summary", request.summary)
    lifetime = float(LIFETIME_SECONDS_DEFAULT)
    if request.HasField("lifetime"):
        lifetime = _read_lifetime(checks, request.lifetime)
    checks.raise_if_any()
    call = wire.parse_call(request.call, who, "call.")
    return Question(call=call, summary=request.summary, lifetime_seconds=lifetime)


def parse_wait(request: gateway_pb2.AwaitApprovalRequest, who: Principal) -> tuple[str, str]:
    """Returns which request is waited for, and its org. Raises InvalidArgument, NotFound."""
    checks = Checks()
    approval_id = wire.read_id(checks, "approval_id", request.approval_id)
    org = wire.read_org(checks, request.org, who)
    checks.raise_if_any()
    wire.require_org(org, who)
    return approval_id, org


def parse_name(request: admin_pb.GetApprovalRequest | _Decision) -> str:
    """Returns which request is meant. Raises InvalidArgument."""
    checks = Checks()
    approval_id = _read_name(checks, request)
    checks.raise_if_any()
    return approval_id


def parse_decision(request: _Decision, *, reason_length_min: int) -> str:
    """Returns which request is decided. Raises InvalidArgument."""
    checks = Checks()
    approval_id = _read_name(checks, request)
    read_text(checks, "reason", request.reason, min_length=reason_length_min)
    checks.raise_if_any()
    return approval_id


def parse_list(request: admin_pb.ListApprovalsRequest) -> None:
    """Checks which requests are wanted. Raises InvalidArgument."""
    checks = Checks()
    if request.org:
        checks.text("org", request.org, max_length=wire.ORG_LENGTH_MAX, pattern=wire.ORG)
    if request.operation:
        length = wire.OPERATION_LENGTH_MAX
        checks.text("operation", request.operation, max_length=length, pattern=wire.NAME)
    if request.state:
        checks.choice("state", request.state, allowed=[state.value for state in State])
    checks.raise_if_any()


def render(approval: Approval) -> approval_pb2.Approval:
    """Renders a request as it is."""
    return approval_pb2.Approval(
        approval_id=approval.approval_id,
        org=approval.org,
        call_id=approval.call_id,
        operation=approval.operation,
        requester=approval.requester,
        summary=approval.summary,
        need=_need(approval.need),
        candidates=[
            call_pb2.Candidate(provider=each.provider, model=each.model)
            for each in approval.candidates
        ],
        cost_nanos_max=approval.cost_nanos_max,
        dimensions=approval.dimensions,
        state=approval_pb2.ApprovalState.ValueType(approval.state.value),
        create_time=render_time(approval.create_time),
        expire_time=render_time(approval.expire_time),
        decide_time=render_time(approval.decide_time),
        decider=approval.decider,
        reason=approval.reason,
    )


def read_text(checks: Checks, field: str, text: str, *, min_length: int = 1) -> None:
    """Checks words of people, which may have lines."""
    words = text.translate(LAYOUT).strip()
    checks.text(field, words, min_length=min_length, max_length=TEXT_LENGTH_MAX)


def _need(need: Need) -> approval_pb2.ApprovalNeed.ValueType:
    return approval_pb2.ApprovalNeed.ValueType(need.value)


def _read_name(checks: Checks, request: admin_pb.GetApprovalRequest | _Decision) -> str:
    if request.org:
        checks.text("org", request.org, max_length=wire.ORG_LENGTH_MAX, pattern=wire.ORG)
    return wire.read_id(checks, "approval_id", request.approval_id)


def _read_lifetime(checks: Checks, lifetime: Duration) -> float:
    low, high = LIFETIME_SECONDS_MIN, LIFETIME_SECONDS_MAX
    checks.integer("lifetime.seconds", lifetime.seconds, minimum=low, maximum=high)
    checks.integer("lifetime.nanos", lifetime.nanos, minimum=0, maximum=_NANOS_PER_SECOND - 1)
    return lifetime.seconds + lifetime.nanos / _NANOS_PER_SECOND
