"""Failures of single members of a peer's batch, as the gateway's own."""

from __future__ import annotations

import re
from typing import Final

import grpc

from chassis.errors import FieldViolation, ServiceError
from headgate.api.common.v1 import call_pb2

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}
# A member's place in the peer's batch says nothing to our caller.
_MEMBER: Final = re.compile(r"^\w+\[\d+\]\.")


def read_call_error(error: call_pb2.CallError) -> ServiceError:
    """Returns the failure that a peer found in one member."""
    return ServiceError(
        error.message,
        code=_CODES.get(error.code, grpc.StatusCode.INTERNAL),
        reason=error.reason,
        metadata=dict(error.metadata),
        violations=[
            FieldViolation(_MEMBER.sub("", violation.field), violation.description)
            for violation in error.violations
        ],
    )
