"""What the fake gateway remembers of a call, and how it refuses one."""

from __future__ import annotations

from dataclasses import dataclass, field

import grpc

from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import gateway_pb2
from headgate.testing.faults import Failure


class Refusal(Exception):  # noqa: N818 - an answer of the contract
    """A member is refused with a status of its own."""

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str,
        *,
        violations: tuple[tuple[str, str], ...] = (),
        **metadata: str,
    ) -> None:
        super().__init__(reason.lower().replace("_", " "))
        self.code = code
        self.reason = reason
        self.violations = violations
        self.metadata = metadata

    def to_failure(self) -> Failure:
        """Returns the status of a single RPC."""
        return Failure(
            code=self.code,
            reason=self.reason,
            message=str(self),
            metadata=self.metadata,
            violations=self.violations,
        )

    def to_message(self) -> call_pb2.CallError:
        """Returns the error of a batch's member."""
        return call_pb2.CallError(
            code=self.code.value[0],
            reason=self.reason,
            message=str(self),
            metadata=self.metadata,
            violations=[
                call_pb2.FieldViolation(field=each, description=text)
                for each, text in self.violations
            ],
        )


@dataclass(slots=True, kw_only=True)
class Entry:
    """One call that the fake remembers."""

    call_id: str
    org: str
    # Caller's fields. Empty: a tombstone.
    fingerprint: bytes = b""
    admission: gateway_pb2.Admission | None = None
    parent_call_id: str = ""
    # None while held.
    state: gateway_pb2.FinishedState.ValueType | None = None
    settled_nanos: int = 0
    report: gateway_pb2.CompleteCallRequest | None = None
    receipt: gateway_pb2.CallReceipt | None = None
    # By metric.
    scores: dict[str, float] = field(default_factory=dict)

    def to_finished(self) -> gateway_pb2.FinishedCall:
        """Returns how the call ended."""
        if self.state is None:
            raise ValueError(f"call {self.call_id} has not ended")
        return gateway_pb2.FinishedCall(
            call_id=self.call_id, state=self.state, settled_nanos=self.settled_nanos
        )


class Everybody(tuple[str, ...]):
    """Orgs of a key that acts for all."""

    __slots__ = ()

    def __contains__(self, org: object) -> bool:
        return True
