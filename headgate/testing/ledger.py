"""The books of the fake gateway: ids, holds, denials, receipts. In memory, one per fake."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field

import grpc

from headgate.api.common.v1 import call_pb2, denial_pb2, limit_pb2
from headgate.api.common.v1.usage_pb2 import FeedbackEffect
from headgate.api.gateway.v1 import gateway_pb2
from headgate.testing.approvals import Approvals
from headgate.testing.entries import Entry, Refusal
from headgate.testing.scores import rate
from headgate.testing.words import (
    INPUT_NANOS,
    OUTPUT_NANOS,
    check,
    find_bounds,
    fingerprint_of,
)

HOLD_SECONDS = 600


@dataclass(slots=True)
class Ledger:
    """Decides and books as the contract says, with flat prices and one cap on cost per org."""

    routes: dict[str, tuple[tuple[str, str], ...]] = field(
        default_factory=lambda: {
            "summarize": (("openai", "gpt-4o-mini"), ("anthropic", "claude-3-5-haiku-latest")),
        }
    )
    # Candidates of operations that have no route. None: there are no such operations.
    default_route: tuple[tuple[str, str], ...] | None = None
    fallback_text: str = "Please try again later."
    cap_nanos: int | None = None
    # When a call that the cap denies may come back. 0: nobody knows.
    retry_seconds: int = 3600
    killed: bool = False
    unfit_providers: set[str] = field(default_factory=set)
    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)
    # Which operations need a person's leave, and what people said.
    approvals: Approvals = field(default_factory=Approvals)

    def held_nanos(self, org: str) -> int:
        """Returns what the org's open calls hold."""
        return sum(
            each.admission.held_nanos
            for each in self.entries.values()
            if each.org == org and each.state is None and each.admission is not None
        )

    def settled_nanos(self, org: str) -> int:
        """Returns what the org's ended calls cost."""
        return sum(each.settled_nanos for each in self.entries.values() if each.org == org)

    def entry(self, call_id: str) -> Entry:
        """Returns what is known of a call."""
        (found,) = (each for each in self.entries.values() if each.call_id == call_id)
        return found

    def admit(self, request: gateway_pb2.AdmitCallRequest, org: str) -> gateway_pb2.CallDecision:
        """Decides on a call. Raises Refusal."""
        check(request)
        fingerprint = fingerprint_of(request)
        known = self.entries.get((org, request.call_id))
        if known is not None and known.fingerprint not in {b"", fingerprint}:
            raise Refusal(grpc.StatusCode.ALREADY_EXISTS, "ID_REUSED", call_id=request.call_id)
        if known is not None and known.state is not None:
            return gateway_pb2.CallDecision(finished=known.to_finished())
        if known is not None and known.admission is not None:
            again = gateway_pb2.Admission()
            again.CopyFrom(known.admission)
            again.replayed = True
            return gateway_pb2.CallDecision(admission=again)
        return self._decide(request, org, fingerprint)

    def _decide(
        self, request: gateway_pb2.AdmitCallRequest, org: str, fingerprint: bytes
    ) -> gateway_pb2.CallDecision:
        route = self.find_route(request.operation)
        if self.killed:
            return self._deny(denial_pb2.DENIAL_REASON_FENCED)
        excluded = {(each.provider, each.model) for each in request.excluded_candidates}
        left = [each for each in route if each not in excluded]
        if not left:
            return self._deny(denial_pb2.DENIAL_REASON_NO_CANDIDATE)
        fit = [each for each in left if each[0] not in self.unfit_providers]
        if not fit:
            return self._deny(denial_pb2.DENIAL_REASON_BREAKER_OPEN, delay_seconds=60)
        if denial := self.approvals.judge(request, org):
            denial.fallback_text = self.fallback_text
            return gateway_pb2.CallDecision(denial=denial)
        worst, output = find_bounds(request)
        if denial := self.judge_budget(org, worst, fit[0]):
            return gateway_pb2.CallDecision(denial=denial)
        return self._hold(request, org, fingerprint, candidate=fit[0], worst=worst, output=output)

    def _hold(
        self,
        request: gateway_pb2.AdmitCallRequest,
        org: str,
        fingerprint: bytes,
        *,
        candidate: tuple[str, str],
        worst: int,
        output: int,
    ) -> gateway_pb2.CallDecision:
        admission = gateway_pb2.Admission(
            call_id=request.call_id,
            org=org,
            candidate=call_pb2.Candidate(provider=candidate[0], model=candidate[1]),
            held_nanos=worst,
            max_output_token_count=output,
            permit=json.dumps([org, request.call_id]).encode(),
            fallback_text=self.fallback_text,
        )
        now = int(time.time())
        admission.admit_time.FromSeconds(now)
        admission.expire_time.FromSeconds(now + HOLD_SECONDS)
        self.entries[org, request.call_id] = Entry(
            call_id=request.call_id,
            org=org,
            fingerprint=fingerprint,
            admission=admission,
            parent_call_id=request.parent_call_id,
        )
        return gateway_pb2.CallDecision(admission=admission)

    def _deny(
        self, reason: denial_pb2.DenialReason.ValueType, *, delay_seconds: int = 0
    ) -> gateway_pb2.CallDecision:
        denial = denial_pb2.Denial(
            reason=reason,
            retry_kind=denial_pb2.RETRY_KIND_UNKNOWN,
            message=denial_pb2.DenialReason.Name(reason).lower(),
            fallback_text=self.fallback_text,
        )
        if delay_seconds:
            denial.retry_kind = denial_pb2.RETRY_KIND_AT
            denial.retry_delay.FromSeconds(delay_seconds)
        return gateway_pb2.CallDecision(denial=denial)

    def find_route(self, operation: str) -> tuple[tuple[str, str], ...]:
        """Returns the operation's candidates. Raises Refusal."""
        route = self.routes.get(operation, self.default_route)
        if route is None:
            raise Refusal(grpc.StatusCode.NOT_FOUND, "OPERATION_NOT_FOUND", operation=operation)
        return route

    def judge_budget(
        self, org: str, worst: int, candidate: tuple[str, str]
    ) -> denial_pb2.Denial | None:
        """Returns why the cap denies a call that costs so much at worst. None: it has room."""
        settled, held, cap = self.settled_nanos(org), self.held_nanos(org), self.cap_nanos
        if cap is None or settled + held + worst <= cap:
            return None
        denial = self._deny(
            denial_pb2.DENIAL_REASON_BUDGET_EXCEEDED, delay_seconds=self.retry_seconds
        ).denial
        denial.violations.add(
            limit_id=f"{org}-monthly",
            owner="finance@example.com",
            metric=limit_pb2.METRIC_COST,
            scope={"org": org},
            cap=cap,
            settled=settled,
            held=held,
            requested=worst,
            excess=settled + held + worst - cap,
            candidate=call_pb2.Candidate(provider=candidate[0], model=candidate[1]),
        )
        return denial

    def complete(
        self, request: gateway_pb2.CompleteCallRequest, orgs: tuple[str, ...]
    ) -> gateway_pb2.CallReceipt:
        """Books how a call ended. Raises Refusal."""
        entry = self.find(request.permit, request.org, request.call_id, orgs)
        if request.outcome == call_pb2.CALL_OUTCOME_UNSPECIFIED:
            raise Refusal(
                grpc.StatusCode.INVALID_ARGUMENT,
                "INVALID_ARGUMENT",
                violations=(("outcome", "is missing"),),
            )
        if entry is None or entry.admission is None:
            raise Refusal(grpc.StatusCode.NOT_FOUND, "CALL_NOT_FOUND", call=request.call_id)
        if entry.report is not None and _usage(entry.report) != _usage(request):
            raise Refusal(grpc.StatusCode.ALREADY_EXISTS, "ID_REUSED", call_id=entry.call_id)
        if entry.receipt is not None:
            again = gateway_pb2.CallReceipt()
            again.CopyFrom(entry.receipt)
            again.replayed = True
            return again
        total, basis = _price(request, entry.admission.held_nanos)
        late = entry.state is not None
        entry.state = gateway_pb2.FINISHED_STATE_SETTLED
        if late:
            entry.state = gateway_pb2.FINISHED_STATE_LATE
        entry.settled_nanos = total
        entry.report = request
        entry.receipt = gateway_pb2.CallReceipt(
            call_id=entry.call_id, total_nanos=total, cost_basis=basis
        )
        return entry.receipt

    def release(
        self, request: gateway_pb2.ReleaseCallRequest, orgs: tuple[str, ...]
    ) -> gateway_pb2.FinishedCall:
        """Returns the hold of a call that never left. Raises Refusal."""
        entry = self.find(request.permit, request.org, request.call_id, orgs)
        if entry is None:
            org = request.org or orgs[0]
            entry = Entry(call_id=request.call_id, org=org)
            self.entries[org, request.call_id] = entry
        if entry.state is None:
            entry.state = gateway_pb2.FINISHED_STATE_RELEASED
        return entry.to_finished()

    def rate(
        self, request: gateway_pb2.RecordFeedbackRequest, orgs: tuple[str, ...]
    ) -> FeedbackEffect.ValueType:
        """Keeps how good a call was; the last word counts. Raises Refusal."""
        entry = self.find(request.permit, request.org, request.call_id, orgs)
        return rate(entry, request)

    def find(self, permit: bytes, org: str, call_id: str, orgs: tuple[str, ...]) -> Entry | None:
        """Returns what is known of a call that a permit, or org and id, name. Raises Refusal."""
        if permit:
            org, call_id = _read_permit(permit)
        org = org or orgs[0]
        if org not in orgs:
            raise Refusal(grpc.StatusCode.NOT_FOUND, "ORG_NOT_FOUND", org=org)
        return self.entries.get((org, call_id))


def _read_permit(permit: bytes) -> tuple[str, str]:
    try:
        org, call_id = json.loads(permit)
    except ValueError:
        raise Refusal(grpc.StatusCode.INVALID_ARGUMENT, "PERMIT_INVALID") from None
    return org, call_id


def _usage(report: gateway_pb2.CompleteCallRequest) -> bytes:
    """What must not differ between two reports of one call: all but the call's name."""
    told = gateway_pb2.CompleteCallRequest()
    told.CopyFrom(report)
    for name in ("permit", "org", "call_id"):
        told.ClearField(name)
    return told.SerializeToString(deterministic=True)


def _price(
    report: gateway_pb2.CompleteCallRequest, held_nanos: int
) -> tuple[int, call_pb2.CostBasis.ValueType]:
    if report.HasField("meters"):
        meters = report.meters
        inputs = (
            meters.input_token_count
            + meters.cache_read_token_count
            + meters.cache_write_5m_token_count
            + meters.cache_write_1h_token_count
        )
        outputs = meters.output_token_count + meters.reasoning_token_count
        return inputs * INPUT_NANOS + outputs * OUTPUT_NANOS, call_pb2.COST_BASIS_METERS
    billed = {call_pb2.CALL_OUTCOME_SUCCEEDED, call_pb2.CALL_OUTCOME_ABORTED}
    if report.unanswered or report.outcome in billed:
        return held_nanos, call_pb2.COST_BASIS_HOLD
    return 0, call_pb2.COST_BASIS_NONE
