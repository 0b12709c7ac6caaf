"""The fake gateway keeps scores as the real one does."""

from __future__ import annotations

import pytest

from headgate.api.common.v1 import usage_pb2
from headgate.api.gateway.v1 import gateway_pb2 as pb
from tests.integration.gateway.system import Keyed
from tests.integration.headgate.asking import admit, ask, complete, refused

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_score_is_kept_once_and_the_last_word_counts(acme: Keyed) -> None:
    admission = await admit(acme, ask())

    async def rate(score: float, **name: object) -> int:
        request = pb.RecordFeedbackRequest(metric="helpful", score=score, **name)  # type: ignore[arg-type] # by field name
        return int((await acme.RecordFeedback(request)).effect)

    by_permit = {"permit": admission.permit}
    assert await rate(0.5, **by_permit) == usage_pb2.FEEDBACK_EFFECT_KEPT
    assert (await refused(rate(0.5, call_id=admission.call_id))).reason == "CALL_NOT_FOUND"
    await complete(acme, permit=admission.permit, approved=True)
    assert await rate(0.5, call_id=admission.call_id) == usage_pb2.FEEDBACK_EFFECT_UNCHANGED
    assert await rate(0.75, **by_permit) == usage_pb2.FEEDBACK_EFFECT_REPLACED


async def test_a_score_that_makes_no_sense_is_refused_by_its_field(
    acme: Keyed, globex: Keyed
) -> None:
    admission = await admit(acme, ask())
    for field, change in (("score", {"score": 1.5}), ("metric", {"metric": "No!"})):
        fields = {"permit": admission.permit, "metric": "helpful", "score": 0.5}
        request = pb.RecordFeedbackRequest(**(fields | change))  # type: ignore[arg-type] # by field name
        failure = await refused(acme.RecordFeedback(request))
        assert (failure.reason, [each.field for each in failure.violations]) == (
            "INVALID_ARGUMENT",
            [field],
        )
    foreign = pb.RecordFeedbackRequest(permit=admission.permit, metric="helpful", score=0.5)
    assert (await refused(globex.RecordFeedback(foreign))).reason == "ORG_NOT_FOUND"
