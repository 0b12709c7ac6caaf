from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import grpc
import grpc.aio
import pytest
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

import headgate
from headgate import decisions, errors
from headgate.failures import parse_failure


def subclasses(kind: type[Exception]) -> Iterator[type[Exception]]:
    for each in kind.__subclasses__():
        yield each
        yield from subclasses(each)


def failure(
    code: grpc.StatusCode, *details: Message, message: str | None = "said", raw: bytes = b""
) -> headgate.RpcError:
    status = status_pb2.Status(code=code.value[0], message=message or "")
    for detail in details:
        packed = AnyMessage()
        packed.Pack(detail)
        status.details.append(packed)
    trailing = grpc.aio.Metadata(
        ("grpc-status-details-bin", raw or status.SerializeToString()), ("other", "x")
    )
    return parse_failure(grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, message))


def test_every_error_is_exported_and_drawn_in_the_tree() -> None:
    names = {each.__name__ for each in subclasses(errors.HeadgateError)}
    tree = (ast.get_docstring(ast.parse(Path(errors.__file__).read_text())) or "").split("\n\n")[1]
    drawn = set(re.findall(r"[├└]── (\w+)", tree))

    assert drawn == names
    assert names <= set(headgate.__all__)


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT", headgate.InvalidArgument),
        (grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED", headgate.Unauthenticated),
        (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED", headgate.PermissionDenied),
        (grpc.StatusCode.NOT_FOUND, "ORG_NOT_FOUND", headgate.NotFound),
        (grpc.StatusCode.ALREADY_EXISTS, "ID_REUSED", headgate.IdReused),
        (grpc.StatusCode.FAILED_PRECONDITION, "TOO_LATE", headgate.TooLate),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", headgate.Overloaded),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_TOO_SHORT", headgate.DeadlineExceeded),
        (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE", headgate.Unavailable),
        (grpc.StatusCode.INTERNAL, "INTERNAL", headgate.InternalError),
        (grpc.StatusCode.UNIMPLEMENTED, "", headgate.RpcError),
    ],
)
def test_a_status_becomes_the_error_that_says_most(
    code: grpc.StatusCode, reason: str, kind: type[headgate.RpcError]
) -> None:
    error = failure(code, error_details_pb2.ErrorInfo(reason=reason, metadata={"org": "acme"}))

    assert type(error) is kind
    assert (error.code, error.reason, error.metadata) == (code.name, reason, {"org": "acme"})


def test_a_status_tells_its_wrong_fields_and_when_to_come_back() -> None:
    request = error_details_pb2.BadRequest()
    request.field_violations.add(field="call_id", description="must be a UUID")
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromMilliseconds(1_500)
    error = failure(grpc.StatusCode.INVALID_ARGUMENT, request, retry, error_details_pb2.Help())

    assert error.violations == (
        headgate.FieldViolation(field="call_id", description="must be a UUID"),
    )
    assert error.retry_delay == timedelta(seconds=1.5)
    assert str(error) == "INVALID_ARGUMENT: said; call_id: must be a UUID"


def test_a_status_that_did_not_come_from_headgate_is_an_error_too() -> None:
    error = failure(grpc.StatusCode.UNAVAILABLE, message=None)

    assert str(error) == "UNAVAILABLE: unavailable"
    assert (error.reason, error.metadata, error.retry_delay) == ("", {}, None)


def test_garbled_details_hide_nothing_else() -> None:
    error = failure(grpc.StatusCode.UNAVAILABLE, raw=b"\xff\xff")

    assert type(error) is headgate.Unavailable


def denial() -> decisions.Denial:
    return decisions.Denial(
        reason=decisions.DenialReason.BUDGET_EXCEEDED,
        violations=(),
        retry_delay=timedelta(seconds=3),
        retry_kind=decisions.RetryKind.AT,
        message="no room",
        fallback_text="later",
    )


def test_a_denied_call_says_why_and_what_to_show() -> None:
    error = headgate.Denied(denial())

    assert str(error) == "BUDGET_EXCEEDED: no room"
    assert (error.fallback_text, error.retry_delay) == ("later", timedelta(seconds=3))
    assert error.violations == ()


def test_a_finished_call_says_how_it_ended() -> None:
    finished = decisions.FinishedCall(
        call_id="c", state=decisions.FinishedState.EXPIRED, settled_nanos=1
    )

    assert str(headgate.Finished(finished)) == "call c has ended: EXPIRED"


def test_failed_candidates_are_counted_and_the_last_one_is_named() -> None:
    error = headgate.AllCandidatesFailed(
        [TimeoutError("slow"), ConnectionError("cut")], fallback_text="later", denial=denial()
    )

    assert str(error) == "2 attempts failed, the last with ConnectionError: cut"
