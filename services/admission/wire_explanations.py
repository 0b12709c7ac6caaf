"""Domain ⇄ protobuf: explanations and outlooks."""

from __future__ import annotations

from chassis.errors import ServiceError
from headgate.api.admission.v1 import admission_pb2 as pb
from headgate.api.common.v1 import call_pb2, denial_pb2, explanation_pb2
from services.admission import wire, wire_outcomes, wire_policy
from services.admission.books import CounterRow
from services.admission.domain.calls import Denied, Reserve, RetryKind, Wait
from services.admission.explanations import (
    CandidateExplanation,
    LimitExplanation,
    Outlook,
)
from services.admission.wire_denials import render_delay, render_violation

# A call that is only asked about needs neither.
NO_ID = "00000000-0000-0000-0000-000000000000"
NO_FINGERPRINT = bytes(wire.FINGERPRINT_SIZE)


def parse_question(request: pb.ReservationRequest, path: str) -> Reserve | ServiceError:
    """Returns a call that is asked about, or what is wrong with this member."""
    completed = pb.ReservationRequest()
    completed.CopyFrom(request)
    completed.call_id = request.call_id or NO_ID
    completed.fingerprint = request.fingerprint or NO_FINGERPRINT
    return wire.parse_reserve(completed, path)


def render_explanation(found: list[CandidateExplanation]) -> pb.CallExplanation:
    """Renders what applies to one call."""
    return pb.CallExplanation(candidates=[_render_candidate(each) for each in found])


def render_outlook(outlook: Outlook, version: int) -> pb.WatchLimitsResponse:
    """Renders the counters that a call would meet, and whether it would pass."""
    outcome = outlook.outcome
    is_open = not isinstance(outcome, Denied)
    wait = outcome.wait if isinstance(outcome, Denied) else Wait(RetryKind.AT, None)
    return pb.WatchLimitsResponse(
        counters=[
            wire_policy.render_counter(
                CounterRow(
                    key=bound.key,
                    counter=outlook.counters[bound.key.counter_id],
                    limit=bound.limit,
                )
            )
            for bound in outlook.bounds
        ],
        open=is_open,
        retry_delay=render_delay(wait),
        retry_kind=denial_pb2.RetryKind.ValueType(0 if is_open else wait.kind.value),
        limits_version=version,
    )


def _render_candidate(found: CandidateExplanation) -> explanation_pb2.CandidateExplanation:
    return explanation_pb2.CandidateExplanation(
        candidate=call_pb2.Candidate(
            provider=found.candidate.provider, model=found.candidate.model
        ),
        limits=[_render_limit(each) for each in found.limits],
        fence=wire_outcomes.render_stop(found.fence),
        held_nanos=found.amounts.nanos,
        held_token_count=found.amounts.tokens,
        fits=found.fits,
        violations=[render_violation(each) for each in found.violations],
    )


def _render_limit(found: LimitExplanation) -> explanation_pb2.LimitExplanation:
    message = explanation_pb2.LimitExplanation(
        limit=wire_policy.render_limit(found.limit),
        standing=explanation_pb2.LimitStanding.ValueType(found.standing.value),
        overridden_by=found.overridden_by,
        reason=found.reason,
    )
    if found.bound is not None and found.counter is not None:
        row = CounterRow(key=found.bound.key, counter=found.counter, limit=found.limit)
        message.counter.CopyFrom(wire_policy.render_counter(row))
    return message
