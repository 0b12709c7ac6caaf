"""Errors from the statuses of RPCs, and from the members of a batch that failed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from headgate.errors import FieldViolation, RpcError, type_of_failure

if TYPE_CHECKING:
    from google.protobuf.any_pb2 import Any as AnyMessage
    from google.protobuf.duration_pb2 import Duration

    from headgate.api.common.v1 import call_pb2

_STATUS_DETAILS_KEY: Final = "grpc-status-details-bin"
_CODE_NAMES: Final = {code.value[0]: code.name for code in grpc.StatusCode}


def parse_call_error(message: call_pb2.CallError) -> RpcError:
    """Returns the error of one member of a batch."""
    code = _CODE_NAMES.get(message.code, "UNKNOWN")
    failure_type = type_of_failure(code=code, reason=message.reason)
    return failure_type(
        message.message,
        code=code,
        reason=message.reason,
        metadata=message.metadata,
        violations=[
            FieldViolation(field=each.field, description=each.description)
            for each in message.violations
        ],
    )


def parse_failure(error: grpc.aio.AioRpcError) -> RpcError:
    """Returns the error of an RPC, with the details that its status carries."""
    info = error_details_pb2.ErrorInfo()
    violations: list[FieldViolation] = []
    delay: timedelta | None = None
    for detail in _read_details(error):
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            request = error_details_pb2.BadRequest()
            detail.Unpack(request)
            violations += [
                FieldViolation(field=each.field, description=each.description)
                for each in request.field_violations
            ]
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo()
            detail.Unpack(retry)
            delay = parse_duration(retry.retry_delay)
    code = error.code().name
    return type_of_failure(code=code, reason=info.reason)(
        error.details() or code.lower().replace("_", " "),
        code=code,
        reason=info.reason,
        metadata=info.metadata,
        violations=violations,
        retry_delay=delay,
    )


def _read_details(error: grpc.aio.AioRpcError) -> list[AnyMessage]:
    for key, value in error.trailing_metadata() or ():
        if key == _STATUS_DETAILS_KEY and isinstance(value, bytes):
            try:
                return list(status_pb2.Status.FromString(value).details)
            except DecodeError:
                return []
    return []


def parse_duration(duration: Duration) -> timedelta:
    """Returns the duration, rounded up to microseconds."""
    return timedelta(seconds=duration.seconds, microseconds=-(-duration.nanos // 1000))
