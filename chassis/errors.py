"""The one translation of failures into what a client sees.

    ServiceError
    ├── InvalidArgument      the message is wrong whatever the state
    ├── Unauthenticated      nobody we know
    ├── PermissionDenied     somebody we know, who may not
    ├── NotFound             no such thing, or none of the caller's
    ├── AlreadyExists        the id is known with other fields
    ├── FailedPrecondition   not in this state
    ├── Overloaded           come back later; never a tenant's limit
    ├── DeadlineTooShort     nothing was begun
    ├── DeadlineExceeded     the server's own limit passed; the outcome is unknown
    ├── Unimplemented        no such method here
    ├── Draining             this replica is shutting down; another one serves
    ├── StoreUnavailable     nothing was decided; retry with the same id
    ├── PeerUnavailable      a service behind this one did not answer
    └── Internal             a bug; the text is fixed, the details are in the log

Every error carries exactly one `ErrorInfo`; every dynamic part of a message is in its metadata.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import grpc
import structlog
from google.protobuf.message import DecodeError
from grpc_status import rpc_status

from chassis import database
from chassis.statuses import FieldViolation, ServiceError, parse_status
from headgate.batching import BatcherClosedError, BatcherFullError

__all__ = [
    "AlreadyExists",
    "DeadlineExceeded",
    "DeadlineTooShort",
    "Draining",
    "FailedPrecondition",
    "FieldViolation",
    "Internal",
    "InvalidArgument",
    "NotFound",
    "Overloaded",
    "PeerUnavailable",
    "PermissionDenied",
    "ServiceError",
    "StoreUnavailable",
    "Unauthenticated",
    "Unimplemented",
    "translate",
]

# What a client waits after `Overloaded` when nobody knows better.
OVERLOAD_RETRY_SECONDS: Final = 0.25
# The same when something behind us is away: a restart takes longer than a queue.
AWAY_RETRY_SECONDS: Final = 0.5
# A peer's answers that mean "try again", when they carry no reason of ours.
_PEER_AWAY: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)

log = structlog.get_logger()


class InvalidArgument(ServiceError):  # noqa: N818 - named like the status it becomes
    """The message is wrong whatever the state."""

    def __init__(self, violations: Sequence[FieldViolation]) -> None:
        super().__init__(
            "; ".join(f"{v.field}: {v.description}".removeprefix(": ") for v in violations)
            or "the message is wrong",
            code=grpc.StatusCode.INVALID_ARGUMENT,
            reason="INVALID_ARGUMENT",
            violations=violations,
        )


class Unauthenticated(ServiceError):  # noqa: N818 - named like the status it becomes
    """The caller proved no identity that is known here."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code=grpc.StatusCode.UNAUTHENTICATED, reason="UNAUTHENTICATED")


class PermissionDenied(ServiceError):  # noqa: N818 - named like the status it becomes
    """The caller is known and may not do this."""

    def __init__(self, message: str, **metadata: str) -> None:
        super().__init__(
            message,
            code=grpc.StatusCode.PERMISSION_DENIED,
            reason="PERMISSION_DENIED",
            metadata=metadata,
        )


class NotFound(ServiceError):  # noqa: N818 - named like the status it becomes
    """No such thing, or none that the caller may know of."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(
            f"no such {kind}: {name}",
            code=grpc.StatusCode.NOT_FOUND,
            reason=f"{kind.upper().replace(' ', '_')}_NOT_FOUND",
            metadata={kind.replace(" ", "_"): name},
        )


class AlreadyExists(ServiceError):  # noqa: N818 - named like the status it becomes
    """The id is known with other fields, or the name is taken."""

    def __init__(self, message: str, *, reason: str = "ID_REUSED", **metadata: str) -> None:
        super().__init__(
            message, code=grpc.StatusCode.ALREADY_EXISTS, reason=reason, metadata=metadata
        )


class FailedPrecondition(ServiceError):  # noqa: N818 - named like the status it becomes
    """The message is right, but not in this state."""

    def __init__(self, message: str, reason: str, **metadata: str) -> None:
        super().__init__(
            message, code=grpc.StatusCode.FAILED_PRECONDITION, reason=reason, metadata=metadata
        )


class Overloaded(ServiceError):  # noqa: N818 - named like the status it becomes
    """The server has more work than it can finish in time; nothing was begun."""

    def __init__(self, retry_delay_seconds: float = OVERLOAD_RETRY_SECONDS) -> None:
        super().__init__(
            "the server is overloaded and began nothing; retry after the delay",
            code=grpc.StatusCode.RESOURCE_EXHAUSTED,
            reason="OVERLOADED",
            retry_delay_seconds=retry_delay_seconds,
        )


class DeadlineTooShort(ServiceError):  # noqa: N818 - named like the status it becomes
    """The remaining time is too short to begin anything."""

    def __init__(self) -> None:
        super().__init__(
            "the deadline leaves too little time, so nothing was begun; allow more",
            code=grpc.StatusCode.DEADLINE_EXCEEDED,
            reason="DEADLINE_TOO_SHORT",
        )


class DeadlineExceeded(ServiceError):  # noqa: N818 - named like the status it becomes
    """The server's own limit for calls without a deadline passed; the outcome is unknown."""

    def __init__(self, limit_seconds: float) -> None:
        super().__init__(
            f"not finished within {limit_seconds:g} s, the limit of calls without a deadline; "
            "the outcome is unknown, so retry with the same id",
            code=grpc.StatusCode.DEADLINE_EXCEEDED,
            reason="DEADLINE_EXCEEDED",
            metadata={"limit_seconds": f"{limit_seconds:g}"},
        )


class Unimplemented(ServiceError):  # noqa: N818 - named like the status it becomes
    """The contract has the method, this server does not serve it yet."""

    def __init__(self, method: str) -> None:
        super().__init__(
            f"not served here: {method}",
            code=grpc.StatusCode.UNIMPLEMENTED,
            reason="UNIMPLEMENTED",
            metadata={"method": method},
        )


class Draining(ServiceError):  # noqa: N818 - named like the status it becomes
    """This replica is shutting down."""

    def __init__(self) -> None:
        super().__init__(
            "this replica is shutting down; another one serves, retry with the same id",
            code=grpc.StatusCode.UNAVAILABLE,
            reason="DRAINING",
        )


class StoreUnavailable(ServiceError):  # noqa: N818 - named like the status it becomes
    """The database did not answer, or lost a race that a retry wins."""

    def __init__(self) -> None:
        super().__init__(
            "the database did not answer: nothing was decided; retry with the same id",
            code=grpc.StatusCode.UNAVAILABLE,
            reason="STORE_UNAVAILABLE",
            retry_delay_seconds=AWAY_RETRY_SECONDS,
        )


class PeerUnavailable(ServiceError):  # noqa: N818 - named like the status it becomes
    """A service behind this one did not answer."""

    def __init__(self, peer: str) -> None:
        super().__init__(
            f"{peer} did not answer; retry with the same id",
            code=grpc.StatusCode.UNAVAILABLE,
            reason="PEER_UNAVAILABLE",
            metadata={"peer": peer},
            retry_delay_seconds=AWAY_RETRY_SECONDS,
        )


class Internal(ServiceError):  # noqa: N818 - named like the status it becomes
    """A bug. The client learns nothing but that; the log has the rest."""

    def __init__(self) -> None:
        super().__init__(
            "the server failed in a way it should not; its log has the details",
            code=grpc.StatusCode.INTERNAL,
            reason="INTERNAL",
        )


def translate(error: Exception, *, peer: str = "a service") -> ServiceError:
    """Returns what a client may see of the error; logs what it may not, once.

    `peer` names who was called, for errors that came from another service.
    """
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, grpc.aio.AioRpcError):
        return _translate_peer_error(error, peer)
    if isinstance(error, BatcherFullError):
        return Overloaded()
    if isinstance(error, BatcherClosedError):
        return Draining()
    if database.is_unavailable(error):
        return StoreUnavailable()
    log.error("internal_error", exc_info=error)
    return Internal()


def _translate_peer_error(error: grpc.aio.AioRpcError, peer: str) -> ServiceError:
    try:
        # The library is typed for the synchronous call; an AioRpcError has what it reads.
        status = rpc_status.from_call(error)  # type: ignore[arg-type]
        parsed = None if status is None else parse_status(status)
    except (ValueError, DecodeError):
        parsed = None
    if parsed is not None and parsed.code is not grpc.StatusCode.UNAUTHENTICATED:
        return parsed
    if parsed is None and error.code() in _PEER_AWAY:
        return PeerUnavailable(peer)
    # A peer that refuses our own token is our bug: the client's credentials are not at fault.
    log.error("peer_error", peer=peer, code=error.code().name, details=error.details())
    return Internal()
