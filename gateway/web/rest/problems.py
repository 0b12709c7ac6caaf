"""Failures as HTTP clients see them: `application/problem+json`, RFC 9457."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import grpc
from grpc_status import rpc_status
from starlette.responses import JSONResponse

from chassis.errors import FieldViolation, Internal, InvalidArgument, ServiceError
from chassis.statuses import parse_status

MEDIA_TYPE: Final = "application/problem+json"
CLIENT_CLOSED_REQUEST: Final = 499
# As google.rpc.Code says.
STATUSES: Final[Mapping[grpc.StatusCode, int]] = {
    grpc.StatusCode.CANCELLED: CLIENT_CLOSED_REQUEST,
    grpc.StatusCode.INVALID_ARGUMENT: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.FAILED_PRECONDITION: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.OUT_OF_RANGE: HTTPStatus.BAD_REQUEST,
    grpc.StatusCode.UNAUTHENTICATED: HTTPStatus.UNAUTHORIZED,
    grpc.StatusCode.PERMISSION_DENIED: HTTPStatus.FORBIDDEN,
    grpc.StatusCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    grpc.StatusCode.ALREADY_EXISTS: HTTPStatus.CONFLICT,
    grpc.StatusCode.ABORTED: HTTPStatus.CONFLICT,
    grpc.StatusCode.RESOURCE_EXHAUSTED: HTTPStatus.TOO_MANY_REQUESTS,
    grpc.StatusCode.UNIMPLEMENTED: HTTPStatus.NOT_IMPLEMENTED,
    grpc.StatusCode.UNAVAILABLE: HTTPStatus.SERVICE_UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED: HTTPStatus.GATEWAY_TIMEOUT,
}


class RequestRefusedError(Exception):
    """What was asked is no request of ours; nothing was begun."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        violations: Sequence[FieldViolation] = (),
        *,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.violations = violations
        self.metadata = metadata or {}


def refuse_fields(violations: Sequence[FieldViolation]) -> RequestRefusedError:
    """Returns the refusal of wrong fields: the same words as the RPC's."""
    error = InvalidArgument(violations)
    return RequestRefusedError(HTTPStatus.BAD_REQUEST, error.reason, error.message, violations)


def describe(error: RequestRefusedError | ServiceError) -> dict[str, Any]:
    """Returns the document that describes a failure."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": "",
        "status": 0,
        "detail": error.message,
        "reason": error.reason,
    }
    if isinstance(error, RequestRefusedError):
        status = error.status
    else:
        status = STATUSES.get(error.code, HTTPStatus.INTERNAL_SERVER_ERROR)
        document["code"] = error.code.name
    if error.metadata:
        document["metadata"] = dict(error.metadata)
    document["title"], document["status"] = _title(status), int(status)
    if error.violations:
        document["violations"] = [
            {"field": each.field, "description": each.description} for each in error.violations
        ]
    return document


def respond(error: RequestRefusedError | ServiceError) -> JSONResponse:
    """Returns the answer to a request that failed."""
    document = describe(error)
    headers = {"cache-control": "no-store"}
    if document["status"] == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = "Bearer"
    delay = None if isinstance(error, RequestRefusedError) else error.retry_delay_seconds
    if delay is not None:
        headers["retry-after"] = str(math.ceil(delay))
    return JSONResponse(
        document, status_code=document["status"], headers=headers, media_type=MEDIA_TYPE
    )


def translate(error: grpc.aio.AioRpcError) -> ServiceError:
    """Reads what an RPC of our own said."""
    # Typed for the calls of the other API; the errors of this one have the same facts.
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    known = parse_status(status) if status is not None else None
    if known is not None:
        return known
    if error.code() in STATUSES:
        # The transport's own words name addresses.
        words = error.code().name.lower().replace("_", " ")
        return ServiceError(words, code=error.code(), reason=error.code().name)
    return Internal()


def _title(status: int) -> str:
    if status == CLIENT_CLOSED_REQUEST:
        return "Client Closed Request"
    return HTTPStatus(status).phrase
