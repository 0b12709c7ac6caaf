"""What a caller says about a call before it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from headgate.api.common.v1 import call_pb2, limit_pb2
from headgate.api.gateway.v1 import gateway_pb2
from headgate.decisions import Candidate
from headgate.options import OnDenied, Priority
from headgate.wire import render_candidate

_RARE: Final = (
    "parent_call_id",
    "team",
    "user",
    "session",
    "ip",
    "feature",
    "locale",
    "approval_id",
)
_NO_VARIABLES: Final[Mapping[str, str]] = {}


@dataclass(slots=True, kw_only=True)
class Plan:
    """One attempt, before it is admitted. Never changed; not frozen, for that costs time."""

    operation: str
    org: str
    call_id: str
    # The id was made by us just now: nobody else can have used it.
    fresh_id: bool
    parent_call_id: str = ""
    excluded: tuple[Candidate, ...] = ()
    input_tokens: int = 0
    input_bytes: int = 0
    max_units: Mapping[str, int] = field(default_factory=dict)
    max_output_tokens: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    team: str = ""
    user: str = ""
    session: str = ""
    ip: str = ""
    feature: str = ""
    priority: Priority = Priority.DEFAULT
    # Denials are raised; otherwise they are for the caller to look at.
    raises_denied: bool = True
    # How long one decision may take.
    timeout_seconds: float
    # How long to wait for room.
    wait_seconds: float = 0.0
    fallback_text: str = ""
    locale: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    default_candidate: Candidate | None = None
    approval_id: str = ""

    def to_request(self) -> gateway_pb2.AdmitCallRequest:
        """Returns the message that asks for this attempt, the same each time.

        Raises ValueError or TypeError if a value can't stand in its field; the gateway checks
        the rest.
        """
        request = gateway_pb2.AdmitCallRequest(
            call_id=self.call_id,
            org=self.org,
            operation=self.operation,
            input_token_count=self.input_tokens,
            input_byte_count=self.input_bytes,
            max_output_token_count=self.max_output_tokens,
        )
        # Most calls have none of these, and each that is set costs time.
        for name in _RARE:
            if value := getattr(self, name):
                setattr(request, name, value)
        if self.labels:
            request.labels.update(self.labels)
        if self.variables:
            request.variables.update(self.variables)
        if self.max_units:
            request.unit_bounds.MergeFrom(call_pb2.UnitBounds(**self.max_units))
        if self.excluded:
            request.excluded_candidates.extend(map(render_candidate, self.excluded))
        if self.priority is not Priority.DEFAULT:
            request.priority = limit_pb2.Priority.Value(f"PRIORITY_{self.priority.value}")
        return request


def make_plan(
    operation: str,
    *,
    new_id: str,
    default_timeout_seconds: float,
    call_id: str = "",
    org: str = "",
    exclude: Sequence[Candidate] = (),
    on_denied: OnDenied = "raise",
    timeout_seconds: float | None = None,
    labels: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
    **same: Any,
) -> Plan:
    """Returns the plan that the options describe; see `headgate.options`. `same` are those that a
    plan has under the same name.
    """
    return Plan(
        operation=operation,
        org=org,
        call_id=call_id or new_id,
        fresh_id=not call_id,
        excluded=tuple(exclude),
        labels=dict(labels) if labels else {},
        variables=dict(variables) if variables else _NO_VARIABLES,
        raises_denied=on_denied == "raise",
        timeout_seconds=default_timeout_seconds if timeout_seconds is None else timeout_seconds,
        **same,
    )
