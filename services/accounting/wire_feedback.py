"""Feedback: protobuf to domain with validation, and back."""

from __future__ import annotations

import re
from typing import Final

from chassis.checks import Checks
from headgate.api.accounting.v1 import accounting_pb2 as pb
from headgate.api.common.v1 import usage_pb2
from services.accounting.feedback import Effect, RatedCall, Score
from services.accounting.wire import NAME_LENGTH_MAX, PROVIDER_LENGTH_MAX
from services.accounting.wire_usage import parse_instant

METRIC: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")
METRIC_LENGTH_MAX: Final = 64
_MICROS: Final = 1_000_000


def parse_score(request: pb.RecordFeedbackRequest) -> Score:
    """Returns the score. Raises InvalidArgument."""
    checks = Checks()
    org = checks.text("org", request.org, max_length=NAME_LENGTH_MAX)
    call_id = checks.uuid("call_id", request.call_id)
    metric = checks.text("metric", request.metric, max_length=METRIC_LENGTH_MAX, pattern=METRIC)
    # Not a number is neither less nor more.
    if not 0.0 <= request.score <= 1.0:
        checks.violate("score", "must be from 0 to 1")
    call = _parse_call(checks, request.call) if request.HasField("call") else None
    checks.raise_if_any()
    return Score(
        org=org, call_id=call_id, metric=metric, micros=round(request.score * _MICROS), call=call
    )


def render_effect(effect: Effect) -> pb.RecordFeedbackResponse:
    """Renders what became of a score."""
    return pb.RecordFeedbackResponse(effect=usage_pb2.FeedbackEffect.ValueType(effect.value))


def _parse_call(checks: Checks, message: pb.RatedCall) -> RatedCall:
    provider, model = message.candidate.provider, message.candidate.model
    return RatedCall(
        operation=checks.text("call.operation", message.operation, max_length=NAME_LENGTH_MAX),
        provider=checks.text("call.candidate.provider", provider, max_length=PROVIDER_LENGTH_MAX),
        model=checks.text("call.candidate.model", model, max_length=NAME_LENGTH_MAX),
        admit_time=parse_instant(checks, "call.admit_time", message.admit_time),
    )
