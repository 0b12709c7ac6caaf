"""What the fake gateway says of calls that are not made yet, and of running ones."""

from __future__ import annotations

import time
from typing import Final

import grpc

from headgate.api.common.v1 import call_pb2, denial_pb2, health_pb2, limit_pb2
from headgate.api.gateway.v1 import gateway_pb2
from headgate.testing.entries import Refusal
from headgate.testing.ledger import HOLD_SECONDS, Ledger
from headgate.testing.words import check, find_bounds

HOLD_SECONDS_MAX: Final = 86_400
_NO_ID: Final = "00000000-0000-4000-8000-000000000000"


def check_question(call: gateway_pb2.AdmitCallRequest) -> None:
    """Checks a call that is only asked about: it needs no id of its own. Raises Refusal."""
    named = gateway_pb2.AdmitCallRequest(call_id=_NO_ID)
    named.MergeFrom(call)
    check(named, prefix="call.")


def estimate(
    ledger: Ledger, call: gateway_pb2.AdmitCallRequest, org: str
) -> gateway_pb2.EstimateCostResponse:
    """Returns what the call would hold on each candidate. Raises Refusal."""
    worst, output = find_bounds(call)
    answer = gateway_pb2.EstimateCostResponse(max_output_token_count=output, price_version=1)
    for candidate in _candidates(ledger, call):
        denial = ledger.judge_budget(org, worst, candidate)
        answer.candidates.add(
            candidate=call_pb2.Candidate(provider=candidate[0], model=candidate[1]),
            worst_case_nanos=worst,
            held_nanos=worst,
            held_token_count=max(call.input_token_count, call.input_byte_count) + output,
            fits=denial is None,
            violations=denial.violations if denial else (),
        )
    return answer


def look(
    ledger: Ledger, call: gateway_pb2.AdmitCallRequest, org: str
) -> gateway_pb2.WatchLimitsResponse:
    """Returns the limits that apply to the call. Raises Refusal."""
    (candidate, *_), (worst, _output) = _candidates(ledger, call), find_bounds(call)
    denial = ledger.judge_budget(org, worst, candidate)
    state = gateway_pb2.WatchLimitsResponse(open=denial is None, limits_version=1)
    if ledger.cap_nanos is not None:
        state.counters.add(
            scope={"org": org},
            metric=limit_pb2.METRIC_COST,
            total=limit_pb2.TotalWindow(),
            held=ledger.held_nanos(org),
            settled=ledger.settled_nanos(org),
            high_cap=ledger.cap_nanos,
            cap=ledger.cap_nanos,
            limit_id=f"{org}-monthly",
            mode=limit_pb2.LIMIT_MODE_ENFORCE,
        )
    if denial is not None:
        state.retry_kind = denial.retry_kind
        if denial.HasField("retry_delay"):
            state.retry_delay.CopyFrom(denial.retry_delay)
    elif ledger.killed:
        state.open, state.retry_kind = False, denial_pb2.RETRY_KIND_UNKNOWN
    return state


def extend(
    ledger: Ledger, request: gateway_pb2.ExtendCallRequest, orgs: tuple[str, ...]
) -> gateway_pb2.ExtendCallResponse:
    """Prolongs the hold of a running call. Raises Refusal."""
    seconds = HOLD_SECONDS
    if request.HasField("hold_duration"):
        seconds = request.hold_duration.seconds
        if not 1 <= seconds <= HOLD_SECONDS_MAX:
            raise Refusal(
                grpc.StatusCode.INVALID_ARGUMENT,
                "INVALID_ARGUMENT",
                violations=(("hold_duration", "must be 1 second to 24 hours"),),
            )
    entry = ledger.find(request.permit, request.org, request.call_id, orgs)
    if entry is None or entry.admission is None:
        raise Refusal(grpc.StatusCode.NOT_FOUND, "CALL_NOT_FOUND", call=request.call_id)
    answer = gateway_pb2.ExtendCallResponse(stop=ledger.killed)
    if ledger.killed:
        answer.stop_message = "Stopped."
    if entry.state is not None:
        answer.finished.CopyFrom(entry.to_finished())
        return answer
    until = entry.admission.expire_time
    until.FromSeconds(max(until.seconds, int(time.time()) + seconds))
    answer.expire_time.CopyFrom(until)
    return answer


def tell_status(ledger: Ledger) -> gateway_pb2.GetStatusResponse:
    """Returns whether calls pass."""
    answer = gateway_pb2.GetStatusResponse(state=gateway_pb2.SERVICE_STATE_HEALTHY)
    for provider in sorted(ledger.unfit_providers):
        answer.state = gateway_pb2.SERVICE_STATE_DEGRADED
        answer.providers.add(provider=provider, state=health_pb2.BREAKER_STATE_OPEN)
    if ledger.killed:
        answer.state = gateway_pb2.SERVICE_STATE_STOPPED
        answer.kills.add(
            kill_id="platform", state=health_pb2.KILL_STATE_IN_FORCE, message="Stopped."
        )
    return answer


def _candidates(ledger: Ledger, call: gateway_pb2.AdmitCallRequest) -> list[tuple[str, str]]:
    excluded = {(each.provider, each.model) for each in call.excluded_candidates}
    left = [each for each in ledger.find_route(call.operation) if each not in excluded]
    if not left:
        raise Refusal(grpc.StatusCode.NOT_FOUND, "PRICE_NOT_FOUND", price=call.operation)
    return left
