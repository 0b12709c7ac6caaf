"""Feedback: how good an answer was, by what users or judges say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from headgate.api.gateway.v1 import gateway_pb2
from headgate.config import Mode

if TYPE_CHECKING:
    from headgate.decisions import Admission
    from headgate.desk import Desk

TIMEOUT_SECONDS: Final = 10.0


async def send(
    desk: Desk,
    *,
    metric: str,
    score: float,
    permit: bytes = b"",
    org: str = "",
    call_id: str = "",
) -> None:
    """Keeps a score of the call that the permit, or org and id, name. Raises RpcError."""
    request = gateway_pb2.RecordFeedbackRequest(
        permit=permit, org=org, call_id=call_id, metric=metric, score=score
    )
    if desk.policies.mode is Mode.OFF:
        return
    await desk.connect().ask(lambda stub: stub.RecordFeedback, request, timeout=TIMEOUT_SECONDS)


async def rate(desk: Desk, admission: Admission, metric: str, score: float) -> None:
    """Keeps a score of a call that was admitted; of one that nobody decided on, nothing."""
    if admission.governed:
        await send(desk, permit=admission.permit, metric=metric, score=score)
