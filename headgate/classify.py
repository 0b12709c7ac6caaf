"""How a call ended, told by the exception that its body raised.

Providers' SDKs are recognised by what their exceptions look like (`status_code`, class names), so
none of them has to be installed. What is not recognised says nothing about the provider: the
call counts as aborted by its caller.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Final

from headgate.decisions import CallOutcome
from headgate.errors import NotSent

ERROR_TYPE_LENGTH_MAX: Final = 64

_TOO_MANY_REQUESTS: Final = 429
_REQUEST_TIMEOUT: Final = 408
_STATUS_CLIENT_ERROR: Final = 400
_STATUS_SERVER_ERROR: Final = 500
_STATUS_END: Final = 600
# The credential is refused: another provider may take the call.
_REFUSED_STATUSES: Final = frozenset({401, 402, 403})
# What providers call a quota that is used up; waiting does not help.
_QUOTA_CODES: Final = frozenset(
    {
        "billing_hard_limit_reached",
        "credit_balance_too_low",
        "insufficient_quota",
        "quota_exceeded",
    }
)
_RETRY_DELAY_SECONDS_MAX: Final = 86_399.0

# Raised before the first byte is written, by the caller's own doing. A provider that can't be
# connected to is not among them: that costs nothing either, but its breaker must hear of it.
_NEVER_LEFT_NAMES: Final = frozenset({"PoolTimeout", "UnsupportedProtocol"})
_OWN_NAMES: Final = frozenset({"LocalProtocolError"})
_HTTP_MODULES: Final = frozenset({"httpx", "httpx2", "httpcore", "httpcore2"})
_FAILED_NAMES: Final = frozenset(
    {
        "APIConnectionError",
        "APITimeoutError",
        "ClientConnectionError",
        "NetworkError",
        "ProtocolError",
        "ProxyError",
        "ServerError",
        "TimeoutException",
        "TransportError",
    }
)
_TIMEOUT_NAMES: Final = frozenset({"APITimeoutError", "TimeoutException"})
_UNCONNECTED_NAMES: Final = frozenset({"ConnectTimeout"})
_SDK_MODULES: Final = _HTTP_MODULES | {"openai", "anthropic", "mistralai", "google", "aiohttp"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What an exception tells about a call."""

    outcome: CallOutcome
    # The exception proves that nothing reached the provider.
    never_left: bool = False
    # The provider was sent the call and may have done it: its answer did not come in time.
    unanswered: bool = False
    # Another candidate may succeed where this one failed.
    survivable: bool = False
    # Low-cardinality class of the error. Empty: none.
    error_type: str = ""
    # How long the provider asked to be left alone. None: it did not.
    retry_delay_seconds: float | None = None


def classify(error: BaseException | None) -> Verdict:
    """Returns what the exception tells; a group of one exception tells what that one does."""
    if error is None:
        return Verdict(outcome=CallOutcome.SUCCEEDED)
    if isinstance(error, NotSent):
        return Verdict(outcome=CallOutcome.ABORTED, never_left=True, error_type=_name(error))
    members = getattr(error, "exceptions", None)
    if isinstance(members, tuple) and len(members) == 1 and isinstance(members[0], BaseException):
        return classify(members[0])
    if not isinstance(error, Exception):
        # CancelledError, GeneratorExit, KeyboardInterrupt: the caller went away.
        left = getattr(error, "original", error)
        return Verdict(outcome=CallOutcome.ABORTED, error_type=_name(left))
    status = _find_status(error)
    return _classify_by_name(error) if status is None else _classify_answer(error, status)


def _classify_answer(error: Exception, status: int) -> Verdict:
    verdict = _classify_status(status)
    code = _find_code(error)
    if code in _QUOTA_CODES:
        return replace(verdict, survivable=True, error_type=code)
    if verdict.outcome is CallOutcome.THROTTLED:
        return replace(verdict, retry_delay_seconds=_find_retry_delay(error))
    return verdict


def _classify_by_name(error: Exception) -> Verdict:
    if _is_named(error, _NEVER_LEFT_NAMES, _HTTP_MODULES):
        return Verdict(outcome=CallOutcome.ABORTED, never_left=True, error_type=_name(error))
    if _is_named(error, _OWN_NAMES, _HTTP_MODULES):
        return Verdict(outcome=CallOutcome.ABORTED, error_type=_name(error))
    if _is_failure(error):
        return Verdict(
            outcome=CallOutcome.PROVIDER_FAILED,
            unanswered=_is_unanswered(error),
            survivable=True,
            error_type=_name(error),
        )
    return Verdict(outcome=CallOutcome.ABORTED, error_type=_name(error))


def _classify_status(status: int) -> Verdict:
    kind = str(status)
    if status == _TOO_MANY_REQUESTS:
        return Verdict(outcome=CallOutcome.THROTTLED, survivable=True, error_type=kind)
    if status >= _STATUS_SERVER_ERROR or status == _REQUEST_TIMEOUT:
        return Verdict(outcome=CallOutcome.PROVIDER_FAILED, survivable=True, error_type=kind)
    survivable = status in _REFUSED_STATUSES
    return Verdict(outcome=CallOutcome.REJECTED, survivable=survivable, error_type=kind)


def _find_code(error: BaseException) -> str:
    """Returns the provider's own code of the error, wherever its SDK keeps it. Empty: none."""
    bodies = [getattr(error, "body", None)]
    try:
        bodies.append(json.loads(getattr(error, "response").content))  # noqa: B009 - may be missing
    except Exception:  # noqa: BLE001 - no answer, none that was read, or no JSON: no code
        bodies.append(None)
    for body in bodies:
        facts: Any = body.get("error", body) if isinstance(body, Mapping) else None
        if isinstance(facts, Mapping):
            for name in ("code", "type"):
                if str(facts.get(name)) in _QUOTA_CODES:
                    return str(facts[name])
    code = getattr(error, "code", None)
    return code if isinstance(code, str) else ""


def _find_retry_delay(error: BaseException) -> float | None:
    """Returns the seconds that the provider asked for in `Retry-After`. None: it did not."""
    headers = getattr(getattr(error, "response", None), "headers", None)
    try:
        text = str((headers or {}).get("retry-after") or "").strip()
        seconds = float(text) if text[:1].isdigit() else _seconds_until(text)
    except Exception:  # noqa: BLE001 - whatever it is, it is no time
        return None
    if not math.isfinite(seconds):
        return None
    return min(max(seconds, 0.0), _RETRY_DELAY_SECONDS_MAX)


def _seconds_until(date: str) -> float:
    return (parsedate_to_datetime(date) - datetime.now(timezone.utc)).total_seconds()


def _find_status(error: BaseException) -> int | None:
    """Returns the HTTP status of an error answer, wherever the provider's SDK keeps it."""
    response = getattr(error, "response", None)
    for holder, name in (
        (error, "status_code"),
        (error, "status"),
        (error, "code"),
        (response, "status_code"),
    ):
        status = getattr(holder, name, None)
        if isinstance(status, int) and _STATUS_CLIENT_ERROR <= status < _STATUS_END:
            return int(status)
    return None


def _is_failure(error: Exception) -> bool:
    # Before Python 3.11, asyncio.TimeoutError is a type of its own.
    if isinstance(error, (asyncio.TimeoutError, TimeoutError, ConnectionError)):
        return True
    return _is_named(error, _FAILED_NAMES, _SDK_MODULES)


def _is_unanswered(error: BaseException) -> bool:
    """Whether the time ran out after the provider was connected to."""
    if isinstance(error, (asyncio.TimeoutError, TimeoutError)):
        return True
    if not _is_named(error, _TIMEOUT_NAMES, _SDK_MODULES):
        return False
    # SDKs of providers raise errors of their own from those of their HTTP client.
    causes = (error, error.__cause__, error.__context__)
    return not any(
        cause is not None and _is_named(cause, _UNCONNECTED_NAMES, _HTTP_MODULES)
        for cause in causes
    )


def _is_named(error: BaseException, names: frozenset[str], modules: frozenset[str]) -> bool:
    return any(
        each.__name__ in names and each.__module__.partition(".")[0] in modules
        for each in type(error).__mro__
    )


def _name(error: BaseException) -> str:
    return type(error).__name__[:ERROR_TYPE_LENGTH_MAX]
