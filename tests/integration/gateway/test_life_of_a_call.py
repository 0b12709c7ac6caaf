"""From AdmitCall to the books, through the real services."""

from __future__ import annotations

import uuid

from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import gateway_pb2 as pb
from tests.integration.gateway.system import System


def new_id() -> str:
    return str(uuid.uuid4())


async def test_an_admitted_call_is_booked_at_what_it_used(system: System) -> None:
    backend = system.backend()
    call_id = new_id()

    admitted = await backend.AdmitCall(
        pb.AdmitCallRequest(call_id=call_id, operation="summarize", input_token_count=1000)
    )
    admission = admitted.decision.admission
    report = pb.CompleteCallRequest(
        permit=admission.permit,
        outcome=call_pb2.CALL_OUTCOME_SUCCEEDED,
        meters=call_pb2.UsageMeters(input_token_count=900, output_token_count=50),
    )
    completed = await backend.CompleteCall(report)

    assert admission.org == "acme"
    assert admission.candidate == call_pb2.Candidate(provider="openai", model="gpt-4o-mini")
    assert completed.receipt.call_id == call_id
    assert completed.receipt.total_nanos == 900 * 150 + 50 * 600
    assert not completed.receipt.replayed
