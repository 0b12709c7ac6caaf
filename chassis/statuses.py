"""The one shape of a failure, and its way onto the wire and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import (  # type: ignore[import-untyped]
    code_pb2,
    error_details_pb2,
    status_pb2,
)

from headgate.api.common.v1 import call_pb2

DOMAIN: Final = "headgate"
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One wrong field, and what to do about it."""

    # Path from the top of the message, such as "calls[3].call_id".
    field: str
    # Names the fix, never the implementation.
    description: str


class ServiceError(Exception):
    """A failure that a client may see as it is: code, reason, message and facts."""

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode,
        reason: str,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[FieldViolation] = (),
        retry_delay_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.metadata: Mapping[str, str] = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_delay_seconds = retry_delay_seconds

    def to_status(self) -> status_pb2.Status:
        """Renders the error; `ErrorInfo` is always there, the other details when they apply."""
        details: list[Message] = [
            error_details_pb2.ErrorInfo(
                reason=self.reason, domain=DOMAIN, metadata=dict(self.metadata)
            )
        ]
        if self.violations:
            details.append(_render_bad_request(self.violations))
        if self.retry_delay_seconds is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromNanoseconds(round(self.retry_delay_seconds * 1e9))
            details.append(retry)
        return status_pb2.Status(
            code=self.code.value[0], message=self.message, details=[_pack(d) for d in details]
        )

    def to_member_error(self) -> call_pb2.CallError:
        """Renders the error for one member of a batch: what a status of its own would carry."""
        return call_pb2.CallError(
            code=self.code.value[0],
            reason=self.reason,
            message=self.message,
            metadata=self.metadata,
            violations=[
                call_pb2.FieldViolation(field=each.field, description=each.description)
                for each in self.violations
            ],
        )


def parse_status(status: status_pb2.Status) -> ServiceError | None:
    """Reads a rendered error back. None: it is not one of ours."""
    info, retry, bad = None, None, error_details_pb2.BadRequest()
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo.FromString(detail.value)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest.FromString(detail.value)
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo.FromString(detail.value)
    if info is None or info.domain != DOMAIN or status.code == code_pb2.OK:
        return None
    return ServiceError(
        status.message,
        code=_CODES.get(status.code, grpc.StatusCode.UNKNOWN),
        reason=info.reason,
        metadata=dict(info.metadata),
        violations=[FieldViolation(v.field, v.description) for v in bad.field_violations],
        retry_delay_seconds=None if retry is None else retry.retry_delay.ToNanoseconds() / 1e9,
    )


def _render_bad_request(violations: Sequence[FieldViolation]) -> error_details_pb2.BadRequest:
    bad = error_details_pb2.BadRequest()
    for violation in violations:
        bad.field_violations.add(field=violation.field, description=violation.description)
    return bad


def _pack(detail: Message) -> AnyMessage:
    packed = AnyMessage()
    packed.Pack(detail)
    return packed
