"""Scores of calls, as the fake gateway keeps them."""

from __future__ import annotations

import re
from typing import Final

import grpc

from headgate.api.common.v1 import usage_pb2
from headgate.api.common.v1.usage_pb2 import FeedbackEffect
from headgate.api.gateway.v1 import gateway_pb2
from headgate.testing.entries import Entry, Refusal

_METRIC: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def rate(
    entry: Entry | None, request: gateway_pb2.RecordFeedbackRequest
) -> FeedbackEffect.ValueType:
    """Keeps how good a call was; the last word counts. Raises Refusal."""
    violations: list[tuple[str, str]] = []
    if not _METRIC.fullmatch(request.metric):
        violations.append(("metric", f"must match {_METRIC.pattern}"))
    if not 0.0 <= request.score <= 1.0:
        violations.append(("score", "must be from 0 to 1"))
    if violations:
        raise Refusal(
            grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", violations=tuple(violations)
        )
    if entry is None or (not request.permit and entry.receipt is None):
        raise Refusal(grpc.StatusCode.NOT_FOUND, "CALL_NOT_FOUND", call=request.call_id)
    before = entry.scores.get(request.metric)
    entry.scores[request.metric] = request.score
    if before is None:
        return usage_pb2.FEEDBACK_EFFECT_KEPT
    if before == request.score:
        return usage_pb2.FEEDBACK_EFFECT_UNCHANGED
    return usage_pb2.FEEDBACK_EFFECT_REPLACED
