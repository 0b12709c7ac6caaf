"""What a caller says about a call before it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from headgate.api.gateway.v1 import gateway_pb2
from headgate.decisions import Candidate
from headgate.wire import render_candidate


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One attempt, before it is admitted."""

    operation: str
    org: str
    call_id: str
    # The id was made by us just now: nobody else can have used it.
    fresh_id: bool
    parent_call_id: str
    excluded: tuple[Candidate, ...]
    input_tokens: int
    input_bytes: int
    max_output_tokens: int | None
    labels: Mapping[str, str]
    # Denials are raised; otherwise they are for the caller to look at.
    raises_denied: bool
    timeout_seconds: float

    def to_request(self) -> gateway_pb2.AdmitCallRequest:
        """Returns the message that asks for this attempt, the same each time.

        Raises ValueError or TypeError if a value can't stand in its field; the gateway checks
        the rest.
        """
        return gateway_pb2.AdmitCallRequest(
            call_id=self.call_id,
            org=self.org,
            operation=self.operation,
            parent_call_id=self.parent_call_id,
            excluded_candidates=[render_candidate(each) for each in self.excluded],
            input_token_count=self.input_tokens,
            input_byte_count=self.input_bytes,
            max_output_token_count=self.max_output_tokens,
            labels=self.labels,
        )
