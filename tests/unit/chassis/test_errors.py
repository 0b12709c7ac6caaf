from __future__ import annotations

import inspect

import asyncpg
import grpc
import pytest
from google.rpc import status_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status
from structlog.testing import capture_logs

from chassis import errors
from chassis.errors import FieldViolation, ServiceError, translate
from chassis.statuses import DOMAIN, parse_status
from headgate.batching import BatcherClosedError, BatcherFullError

Code = grpc.StatusCode
# Every error that a client may see: an example, its code, its reason, its metadata.
ERRORS: dict[str, tuple[ServiceError, grpc.StatusCode, str, dict[str, str]]] = {
    "InvalidArgument": (
        errors.InvalidArgument([FieldViolation("call_id", "send a UUID")]),
        Code.INVALID_ARGUMENT,
        "INVALID_ARGUMENT",
        {},
    ),
    "Unauthenticated": (
        errors.Unauthenticated("show a key"),
        Code.UNAUTHENTICATED,
        "UNAUTHENTICATED",
        {},
    ),
    "PermissionDenied": (
        errors.PermissionDenied("not for acme", org="acme"),
        Code.PERMISSION_DENIED,
        "PERMISSION_DENIED",
        {"org": "acme"},
    ),
    "NotFound": (
        errors.NotFound("api key", "k1"),
        Code.NOT_FOUND,
        "API_KEY_NOT_FOUND",
        {"api_key": "k1"},
    ),
    "AlreadyExists": (
        errors.AlreadyExists("the id c1 has other fields", call_id="c1"),
        Code.ALREADY_EXISTS,
        "ID_REUSED",
        {"call_id": "c1"},
    ),
    "FailedPrecondition": (
        errors.FailedPrecondition("too late for c1", "TOO_LATE", call_id="c1"),
        Code.FAILED_PRECONDITION,
        "TOO_LATE",
        {"call_id": "c1"},
    ),
    "Overloaded": (errors.Overloaded(1.5), Code.RESOURCE_EXHAUSTED, "OVERLOADED", {}),
    "DeadlineTooShort": (
        errors.DeadlineTooShort(),
        Code.DEADLINE_EXCEEDED,
        "DEADLINE_TOO_SHORT",
        {},
    ),
    "DeadlineExceeded": (
        errors.DeadlineExceeded(10.0),
        Code.DEADLINE_EXCEEDED,
        "DEADLINE_EXCEEDED",
        {"limit_seconds": "10"},
    ),
    "Unimplemented": (
        errors.Unimplemented("/a/B"),
        Code.UNIMPLEMENTED,
        "UNIMPLEMENTED",
        {"method": "/a/B"},
    ),
    "Draining": (errors.Draining(), Code.UNAVAILABLE, "DRAINING", {}),
    "StoreUnavailable": (errors.StoreUnavailable(), Code.UNAVAILABLE, "STORE_UNAVAILABLE", {}),
    "PeerUnavailable": (
        errors.PeerUnavailable("admission"),
        Code.UNAVAILABLE,
        "PEER_UNAVAILABLE",
        {"peer": "admission"},
    ),
    "Internal": (errors.Internal(), Code.INTERNAL, "INTERNAL", {}),
}


def peer_error(
    code: grpc.StatusCode, details: str = "", status: status_pb2.Status | None = None
) -> grpc.aio.AioRpcError:
    """What a client of another service gets."""
    pairs = () if status is None else rpc_status.to_status(status).trailing_metadata
    metadata = grpc.aio.Metadata(*((key, value) for key, value in pairs or ()))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), metadata, details)


def test_every_error_has_an_example_here() -> None:
    classes = {
        name
        for name, each in inspect.getmembers(errors, inspect.isclass)
        if issubclass(each, ServiceError) and each is not ServiceError
    }

    assert classes == set(ERRORS)


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_one_status_that_can_be_read_back(name: str) -> None:
    error, code, reason, metadata = ERRORS[name]
    status = error.to_status()
    info = [each for each in status.details if each.TypeName() == "google.rpc.ErrorInfo"]
    read = parse_status(status)

    assert error.code is code
    assert len(info) == 1
    assert read is not None
    assert (read.code, read.reason, dict(read.metadata)) == (code, reason, metadata)
    assert (read.message, read.violations) == (error.message, error.violations)
    assert read.retry_delay_seconds == error.retry_delay_seconds


@pytest.mark.parametrize("name", ERRORS)
def test_every_part_of_a_message_that_varies_is_in_the_metadata(name: str) -> None:
    error, _, _, metadata = ERRORS[name]

    assert [value for value in metadata.values() if value not in error.message] == []


def test_wrong_fields_are_told_all_at_once() -> None:
    violations = [FieldViolation("a", "send one"), FieldViolation("b[2].c", "at most 3")]
    error = errors.InvalidArgument(violations)

    assert error.message == "a: send one; b[2].c: at most 3"
    assert error.violations == tuple(violations)
    assert errors.InvalidArgument([]).message == "the message is wrong"


@pytest.mark.parametrize("name", ERRORS)
def test_a_member_of_a_batch_fails_as_it_would_alone(name: str) -> None:
    error, code, reason, metadata = ERRORS[name]
    member = error.to_member_error()

    assert (member.code, member.reason, member.message) == (code.value[0], reason, error.message)
    assert dict(member.metadata) == metadata
    assert [(each.field, each.description) for each in member.violations] == [
        (each.field, each.description) for each in error.violations
    ]


def test_a_status_of_somebody_else_is_not_ours() -> None:
    foreign, fine = (errors.NotFound("call", "x").to_status() for _ in range(2))
    foreign.details[0].value = foreign.details[0].value.replace(DOMAIN.encode(), b"headache")
    fine.code = 0

    assert parse_status(status_pb2.Status(code=5, message="without details")) is None
    assert parse_status(foreign) is None
    assert parse_status(fine) is None


def test_an_unknown_code_is_kept_as_unknown() -> None:
    status = errors.Internal().to_status()
    status.code = 99

    read = parse_status(status)
    assert read is not None
    assert read.code is Code.UNKNOWN


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (BatcherFullError(), "OVERLOADED"),
        (BatcherClosedError(), "DRAINING"),
        (asyncpg.DeadlockDetectedError("x"), "STORE_UNAVAILABLE"),
        (asyncpg.LockNotAvailableError("x"), "STORE_UNAVAILABLE"),
        (ConnectionRefusedError("x"), "STORE_UNAVAILABLE"),
        (TimeoutError(), "STORE_UNAVAILABLE"),
        (asyncpg.UndefinedTableError("secret"), "INTERNAL"),
        (KeyError("secret"), "INTERNAL"),
        (peer_error(Code.UNAVAILABLE, "secret"), "PEER_UNAVAILABLE"),
        (peer_error(Code.DEADLINE_EXCEEDED), "PEER_UNAVAILABLE"),
        (peer_error(Code.CANCELLED), "PEER_UNAVAILABLE"),
        (peer_error(Code.RESOURCE_EXHAUSTED), "PEER_UNAVAILABLE"),
        (peer_error(Code.UNKNOWN, "secret"), "INTERNAL"),
        (peer_error(Code.UNIMPLEMENTED, "secret"), "INTERNAL"),
    ],
)
def test_any_other_exception_becomes_one_of_ours(error: Exception, reason: str) -> None:
    with capture_logs() as logs:
        failure = translate(error, peer="admission")

    assert failure.reason == reason
    assert "secret" not in failure.message
    assert [line["log_level"] for line in logs] == (["error"] if reason == "INTERNAL" else [])


def test_what_another_service_refused_is_passed_on() -> None:
    refused = errors.NotFound("call", "c1")
    passed = translate(peer_error(refused.code, refused.message, refused.to_status()))

    assert (passed.code, passed.reason, passed.message) == (
        Code.NOT_FOUND,
        "CALL_NOT_FOUND",
        "no such call: c1",
    )


def test_a_peer_that_refuses_our_own_token_is_our_bug() -> None:
    refused = errors.Unauthenticated("show the service token")
    with capture_logs() as logs:
        passed = translate(peer_error(refused.code, refused.message, refused.to_status()))

    assert passed.reason == "INTERNAL"
    assert [line["event"] for line in logs] == ["peer_error"]


def test_details_that_cannot_be_read_are_none() -> None:
    metadata = grpc.aio.Metadata(("grpc-status-details-bin", b"\xff\xff"))
    broken = grpc.aio.AioRpcError(Code.UNAVAILABLE, grpc.aio.Metadata(), metadata, "")

    assert translate(broken, peer="health").reason == "PEER_UNAVAILABLE"


def test_details_that_contradict_their_status_are_none() -> None:
    error = peer_error(Code.UNAVAILABLE, "other", errors.NotFound("call", "x").to_status())

    assert translate(error, peer="health").reason == "PEER_UNAVAILABLE"
