from __future__ import annotations

import asyncio
import urllib.error
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import format_datetime
from typing import Any

import httpx2
import pytest

import headgate
from headgate.classify import ERROR_TYPE_LENGTH_MAX, Verdict, classify
from headgate.decisions import CallOutcome


def with_fields(name: str, module: str = "anything", **fields: Any) -> Exception:
    """An exception of a class that looks like a provider's."""
    made = type(name, (Exception,), {"__module__": module})()
    for field, value in fields.items():
        setattr(made, field, value)
    return made  # type: ignore[no-any-return]


def told(error: BaseException) -> tuple[CallOutcome, bool, bool]:
    verdict = classify(error)
    return verdict.outcome, verdict.survivable, verdict.never_left


FAILED = (CallOutcome.PROVIDER_FAILED, True, False)
THROTTLED = (CallOutcome.THROTTLED, True, False)
REJECTED = (CallOutcome.REJECTED, False, False)
# Another provider may take the call.
REFUSED = (CallOutcome.REJECTED, True, False)
ABORTED = (CallOutcome.ABORTED, False, False)
NEVER_LEFT = (CallOutcome.ABORTED, False, True)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        *((400, REJECTED), (404, REJECTED), (422, REJECTED)),
        *((401, REFUSED), (402, REFUSED), (403, REFUSED)),
        *((408, FAILED), (429, THROTTLED), (500, FAILED), (503, FAILED), (529, FAILED)),
    ],
)
def test_a_status_tells_who_is_to_blame(status: int, expected: object) -> None:
    assert told(with_fields("APIStatusError", status_code=status)) == expected


@pytest.mark.parametrize("name", ["status_code", "status", "code"])
def test_a_status_is_found_wherever_sdks_keep_it(name: str) -> None:
    fields: dict[str, Any] = {name: 503}

    assert classify(with_fields("Error", **fields)).error_type == "503"


def test_a_status_is_found_in_the_response() -> None:
    request = httpx2.Request("GET", "http://provider.test")
    response = httpx2.Response(429, request=request)
    error = httpx2.HTTPStatusError("slow down", request=request, response=response)

    assert told(error) == THROTTLED


def test_a_status_is_found_in_the_standard_library() -> None:
    assert told(urllib.error.HTTPError("http://p.test", 502, "bad", Message(), None)) == FAILED


@pytest.mark.parametrize("value", [200, 302, 600, 0, "503", None, lambda: 503])
def test_what_is_no_error_status_tells_nothing(value: Any) -> None:
    assert told(with_fields("Error", status_code=value)) == ABORTED


@pytest.mark.parametrize(
    "error",
    [
        httpx2.ReadTimeout("slow"),
        httpx2.ReadError("cut"),
        httpx2.RemoteProtocolError("garbage"),
        httpx2.ProxyError("no way"),
        TimeoutError(),
        ConnectionResetError(),
        with_fields("APIConnectionError", "openai"),
        with_fields("APITimeoutError", "anthropic._exceptions"),
        with_fields("ServerError", "google.genai.errors"),
    ],
    ids=repr,
)
def test_a_broken_connection_is_the_providers_failure(error: Exception) -> None:
    assert told(error) == FAILED


def raised_from(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "is_unanswered"),
    [
        (httpx2.ReadTimeout("slow"), True),
        (httpx2.WriteTimeout("slow"), True),
        (TimeoutError(), True),
        (with_fields("APITimeoutError", "openai"), True),
        (
            raised_from(with_fields("APITimeoutError", "openai"), httpx2.ReadTimeout("slow")),
            True,
        ),
        (
            raised_from(with_fields("APITimeoutError", "openai"), httpx2.ConnectTimeout("slow")),
            False,
        ),
        (httpx2.ConnectTimeout("slow"), False),
        (httpx2.ConnectError("refused"), False),
        (httpx2.PoolTimeout("busy"), False),
        (httpx2.RemoteProtocolError("garbage"), False),
        (with_fields("TimeoutException", "somebody_elses"), False),
        (with_fields("Error", status_code=504), False),
    ],
    ids=repr,
)
def test_a_call_that_was_sent_and_not_answered_in_time_may_have_cost_something(
    error: Exception, is_unanswered: bool
) -> None:
    assert classify(error).unanswered is is_unanswered


@pytest.mark.parametrize("error", [httpx2.ConnectError("refused"), httpx2.ConnectTimeout("slow")])
def test_a_provider_that_cannot_be_reached_has_failed_so_that_its_breaker_hears_of_it(
    error: Exception,
) -> None:
    assert told(error) == FAILED


@pytest.mark.parametrize(
    "error", [httpx2.PoolTimeout("busy"), httpx2.UnsupportedProtocol("ftp"), headgate.NotSent()]
)
def test_only_what_provably_never_left_is_said_to_have_never_left(error: Exception) -> None:
    assert told(error) == NEVER_LEFT


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a bug"),
        httpx2.LocalProtocolError("ours"),
        with_fields("APIConnectionError", "somebody_elses"),
        with_fields("PoolTimeout", "somebody_elses"),
        asyncio.CancelledError(),
        GeneratorExit(),
        KeyboardInterrupt(),
        headgate.Unavailable("of Headgate itself", code="UNAVAILABLE"),
    ],
    ids=repr,
)
def test_what_is_not_recognised_says_nothing_about_the_provider(error: BaseException) -> None:
    assert told(error) == ABORTED


def test_a_group_of_one_tells_what_its_member_does() -> None:
    member = TimeoutError()

    assert classify(ExceptionGroup("one", [ExceptionGroup("inner", [member])])) == classify(member)
    assert told(ExceptionGroup("two", [member, ValueError()])) == ABORTED


def test_an_error_type_fits_the_contract() -> None:
    assert classify(with_fields("X" * 100)) == Verdict(
        outcome=CallOutcome.ABORTED, error_type="X" * ERROR_TYPE_LENGTH_MAX
    )


def answered(status: int, *, headers: dict[str, str] | None = None, body: str = "") -> Exception:
    """An error answer, as an HTTP library raises it."""
    request = httpx2.Request("POST", "http://provider.test")
    response = httpx2.Response(status, request=request, headers=headers, text=body)
    return httpx2.HTTPStatusError("no", request=request, response=response)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30.0),
        ("0", 0.0),
        ("1.5", 1.5),
        ("999999999", 86_399.0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
        *(("soon", None), ("-5", None), ("nan", None), ("", None), ("9" * 400, None)),
    ],
)
def test_a_provider_that_throttles_may_say_how_long(text: str, seconds: float | None) -> None:
    verdict = classify(answered(429, headers={"Retry-After": text}))

    assert verdict.retry_delay_seconds == seconds


def test_a_date_of_retry_after_is_a_time_from_now() -> None:
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=60), usegmt=True)

    seconds = classify(answered(429, headers={"Retry-After": date})).retry_delay_seconds

    assert seconds is not None
    assert 55 < seconds <= 60


def test_only_a_provider_that_throttles_is_left_alone() -> None:
    assert classify(answered(503, headers={"Retry-After": "30"})).retry_delay_seconds is None
    assert classify(with_fields("Error", status_code=429)).retry_delay_seconds is None


@pytest.mark.parametrize(
    "error",
    [
        answered(429, body='{"error": {"code": "insufficient_quota"}}'),
        answered(400, body='{"error": {"type": "insufficient_quota"}}'),
        with_fields("RateLimitError", status_code=429, body={"code": "insufficient_quota"}),
        with_fields("RateLimitError", status_code=429, code="insufficient_quota"),
    ],
    ids=["answer", "type", "body", "field"],
)
def test_a_used_up_quota_is_told_from_a_busy_provider(error: Exception) -> None:
    verdict = classify(error)

    assert (verdict.error_type, verdict.survivable) == ("insufficient_quota", True)
    assert verdict.retry_delay_seconds is None


@pytest.mark.parametrize(
    "body", ["", "[]", '"x"', '{"error": []}', '{"error": {"code": []}}', "{"]
)
def test_a_body_that_is_no_error_of_that_kind_tells_nothing(body: str) -> None:
    assert classify(answered(429, body=body)).error_type == "429"
