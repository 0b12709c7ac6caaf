"""People in memory: which operations need their leave, who asked, and what they said."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import grpc

from headgate.api.common.v1 import call_pb2, denial_pb2
from headgate.api.gateway.v1 import approval_pb2, gateway_pb2
from headgate.testing.entries import Refusal
from headgate.testing.words import check, find_bounds, fingerprint_of

LIFETIME_SECONDS: Final = 86_400
LIFETIME_SECONDS_MIN: Final = 60
LIFETIME_SECONDS_MAX: Final = 7 * 86_400
SUMMARY_LENGTH_MAX: Final = 1_024
_FLAWS: Final = {
    approval_pb2.APPROVAL_STATE_PENDING: denial_pb2.APPROVAL_FLAW_PENDING,
    approval_pb2.APPROVAL_STATE_REJECTED: denial_pb2.APPROVAL_FLAW_REJECTED,
    approval_pb2.APPROVAL_STATE_EXPIRED: denial_pb2.APPROVAL_FLAW_EXPIRED,
}


@dataclass(slots=True)
class _Request:
    approval: approval_pb2.Approval
    subject: bytes
    attempt_ids: set[str] = field(default_factory=set)

    def takes(self, call: gateway_pb2.AdmitCallRequest) -> bool:
        """Tells whether this attempt may be made; there are fewer of them than candidates."""
        if call.call_id == self.approval.call_id or call.call_id in self.attempt_ids:
            return True
        made = len(self.attempt_ids) + 1
        if made >= len(self.approval.candidates) or made > len(call.excluded_candidates):
            return False
        self.attempt_ids.add(call.call_id)
        return True


@dataclass(slots=True)
class Approvals:
    """What people are asked and say; a test plays the people by `approve`, `reject`, `expire`."""

    # Operations each of whose calls needs a person's leave.
    operations: set[str] = field(default_factory=set)
    _requests: dict[str, _Request] = field(default_factory=dict)

    def approve(self, call_id: str, *, reason: str = "") -> None:
        """Gives leave for a call. Raises KeyError if nobody asked for it."""
        self._decide(call_id, approval_pb2.APPROVAL_STATE_APPROVED, reason)

    def reject(self, call_id: str, *, reason: str) -> None:
        """Refuses leave for a call. Raises KeyError if nobody asked for it."""
        self._decide(call_id, approval_pb2.APPROVAL_STATE_REJECTED, reason)

    def expire(self, call_id: str) -> None:
        """Lets the time of a request pass. Raises KeyError if nobody asked for it."""
        self._of_call(call_id).approval.state = approval_pb2.APPROVAL_STATE_EXPIRED

    def pending(self) -> list[str]:
        """Returns the ids of the calls that wait for leave."""
        states = (each.approval for each in list(self._requests.values()))
        pending = approval_pb2.APPROVAL_STATE_PENDING
        return [each.call_id for each in states if each.state == pending]

    def begin(
        self,
        request: gateway_pb2.RequestApprovalRequest,
        org: str,
        find_route: Callable[[str], tuple[tuple[str, str], ...]],
    ) -> gateway_pb2.RequestApprovalResponse:
        """Asks people. Raises Refusal."""
        _check(request)
        call, route = request.call, find_route(request.call.operation)
        if call.operation not in self.operations:
            return gateway_pb2.RequestApprovalResponse()
        subject = _subject_of(call, call.call_id)
        for known in self._requests.values():
            if (known.approval.org, known.approval.call_id) == (org, call.call_id):
                if known.subject != subject:
                    raise Refusal(
                        grpc.StatusCode.ALREADY_EXISTS, "ID_REUSED", call_id=call.call_id
                    )
                return gateway_pb2.RequestApprovalResponse(approval=known.approval)
        approval = _make(request, org, route)
        self._requests[approval.approval_id] = _Request(approval, subject)
        return gateway_pb2.RequestApprovalResponse(approval=approval)

    def look(self, approval_id: str, org: str) -> approval_pb2.Approval:
        """Returns a request as it is. Raises Refusal."""
        found = self._requests.get(approval_id)
        if found is None or found.approval.org != org:
            raise Refusal(grpc.StatusCode.NOT_FOUND, "APPROVAL_NOT_FOUND", approval=approval_id)
        now = approval_pb2.Approval()
        now.CopyFrom(found.approval)
        return now

    def judge(self, call: gateway_pb2.AdmitCallRequest, org: str) -> denial_pb2.Denial | None:
        """Returns why a call may not go without, or with, the leave that it shows."""
        if call.approval_id:
            flaw = self._find_flaw(call, org)
            if flaw is None:
                return None
            reason = denial_pb2.DENIAL_REASON_APPROVAL_REFUSED
        elif call.operation in self.operations:
            reason = denial_pb2.DENIAL_REASON_APPROVAL_REQUIRED
            flaw = denial_pb2.APPROVAL_FLAW_UNSPECIFIED
        else:
            return None
        is_pending = flaw in (
            denial_pb2.APPROVAL_FLAW_PENDING,
            denial_pb2.APPROVAL_FLAW_UNSPECIFIED,
        )
        return denial_pb2.Denial(
            reason=reason,
            approval_flaw=flaw,
            message=denial_pb2.DenialReason.Name(reason).lower(),
            retry_kind=denial_pb2.RETRY_KIND_UNKNOWN
            if is_pending
            else denial_pb2.RETRY_KIND_NEVER,
        )

    def _find_flaw(
        self, call: gateway_pb2.AdmitCallRequest, org: str
    ) -> denial_pb2.ApprovalFlaw.ValueType | None:
        found = self._requests.get(call.approval_id)
        if found is None or found.approval.org != org:
            return denial_pb2.APPROVAL_FLAW_UNKNOWN
        approval = found.approval
        if approval.state != approval_pb2.APPROVAL_STATE_APPROVED:
            return _FLAWS[approval.state]
        if approval.call_id not in (call.call_id, call.parent_call_id):
            return denial_pb2.APPROVAL_FLAW_OTHER_CALL
        if found.subject != _subject_of(call, approval.call_id):
            return denial_pb2.APPROVAL_FLAW_CHANGED
        return None if found.takes(call) else denial_pb2.APPROVAL_FLAW_OTHER_CALL

    def _decide(
        self, call_id: str, state: approval_pb2.ApprovalState.ValueType, reason: str
    ) -> None:
        approval = self._of_call(call_id).approval
        approval.state, approval.reason, approval.decider = state, reason, "people"
        approval.decide_time.FromSeconds(int(time.time()))

    def _of_call(self, call_id: str) -> _Request:
        for each in self._requests.values():
            if each.approval.call_id == call_id:
                return each
        raise KeyError(call_id)


def _make(
    request: gateway_pb2.RequestApprovalRequest, org: str, route: tuple[tuple[str, str], ...]
) -> approval_pb2.Approval:
    call, now = request.call, int(time.time())
    approval = approval_pb2.Approval(
        approval_id=str(uuid.uuid4()),
        org=org,
        call_id=call.call_id,
        operation=call.operation,
        summary=request.summary,
        need=approval_pb2.APPROVAL_NEED_OPERATION,
        candidates=[call_pb2.Candidate(provider=each, model=model) for each, model in route],
        cost_nanos_max=find_bounds(call)[0],
        state=approval_pb2.APPROVAL_STATE_PENDING,
    )
    approval.create_time.FromSeconds(now)
    approval.expire_time.FromSeconds(now + (request.lifetime.seconds or LIFETIME_SECONDS))
    return approval


def _subject_of(call: gateway_pb2.AdmitCallRequest, call_id: str) -> bytes:
    plain = gateway_pb2.AdmitCallRequest()
    plain.CopyFrom(call)
    plain.call_id = call_id
    plain.ClearField("parent_call_id")
    plain.ClearField("excluded_candidates")
    return fingerprint_of(plain)


def _check(request: gateway_pb2.RequestApprovalRequest) -> None:
    wrong: list[tuple[str, str]] = []
    if request.call.approval_id:
        wrong.append(("call.approval_id", "must be empty"))
    if not 1 <= len(request.summary) <= SUMMARY_LENGTH_MAX:
        wrong.append(("summary", f"must have 1 to {SUMMARY_LENGTH_MAX} characters"))
    seconds = request.lifetime.seconds if request.HasField("lifetime") else LIFETIME_SECONDS
    if not LIFETIME_SECONDS_MIN <= seconds <= LIFETIME_SECONDS_MAX:
        wrong.append(("lifetime.seconds", "must be 1 minute to 7 days"))
    if wrong:
        raise Refusal(
            grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", violations=tuple(wrong)
        )
    check(request.call, prefix="call.")
