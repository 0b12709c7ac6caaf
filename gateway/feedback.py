"""Feedback of backends on their calls, which accounting keeps."""

from __future__ import annotations

from gateway.decisions import CallName
from gateway.peers import ACCOUNTING, Accounting, call
from headgate.api.accounting.v1 import accounting_pb2
from headgate.api.common.v1 import usage_pb2


class Feedback:
    """Passes scores on, with what the call's permit says of it."""

    def __init__(self, accounting: Accounting) -> None:
        self._stub = accounting.stub

    async def record(
        self, name: CallName, *, metric: str, score: float
    ) -> usage_pb2.FeedbackEffect.ValueType:
        """Keeps how good a call was. Raises ServiceError; accounting checks metric and score."""
        request = accounting_pb2.RecordFeedbackRequest(
            org=name.org, call_id=name.call_id, metric=metric, score=score
        )
        if name.permit is not None:
            request.call.operation = name.permit.operation
            request.call.candidate.CopyFrom(name.permit.candidate)
            request.call.admit_time.FromMicroseconds(name.permit.admit_time_micros)
        return (await call(ACCOUNTING, self._stub.RecordFeedback, request)).effect
