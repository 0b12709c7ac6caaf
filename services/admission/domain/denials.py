"""Words and delays of denials.

A delay is the time until the same call would fit: exact if nothing settles meanwhile, and at most
exact otherwise. A call that asks for more than a cap can never fit.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Final

from services.admission.domain.calendars import Period
from services.admission.domain.calls import DenialReason, Denied, RetryKind, Violation, Wait
from services.admission.domain.fences import Fence
from services.admission.domain.limits import Metric
from services.admission.domain.windows import (
    BucketWindow,
    CalendarWindow,
    IntervalWindow,
    OpenWindow,
    RollingWindow,
    Window,
)

_PERIOD_NAMES: Final = {
    Period.HOUR: "hourly",
    Period.DAY: "daily",
    Period.WEEK: "weekly",
    Period.MONTH: "monthly",
}
# By kind: the less is promised, the greater.
_UNSURENESS: Final = {
    RetryKind.AT: 0,
    RetryKind.AT_LATEST: 1,
    RetryKind.UNKNOWN: 2,
    RetryKind.NEVER: 3,
}
_KNOWN_KINDS: Final = frozenset({RetryKind.AT, RetryKind.AT_LATEST})
# Names of a module take a tenth of the time of an enum's members: a flood of denials asks often.
_COST, _TOKENS = Metric.COST, Metric.TOKENS


def fenced(fence: Fence) -> Denied:
    """Returns the denial of a call that a fence stops."""
    return Denied(
        reason=DenialReason.FENCED,
        message=fence.message or "This call is stopped by the kill switch.",
    )


def deny(violations_by_candidate: Sequence[Sequence[Violation]]) -> Denied:
    """Returns the denial of a call whose candidates all broke some limit."""
    violations = [each for violated in violations_by_candidate for each in violated]
    is_rate = any(each.limit.metric is not _COST for each in violations)
    return Denied(
        reason=DenialReason.RATE_EXCEEDED if is_rate else DenialReason.BUDGET_EXCEEDED,
        message=_message(violations),
        violations=tuple(violations),
        wait=min((_wait_for_all(each) for each in violations_by_candidate), key=_wait_order),
    )


def _wait_for_all(violated: Iterable[Violation]) -> Wait:
    """Returns when all these limits have room: the latest of them, the least sure of them."""
    waits = [each.wait for each in violated]
    kind = max((wait.kind for wait in waits), key=_UNSURENESS.__getitem__)
    delays = [wait.delay for wait in waits if wait.delay is not None]
    is_known = kind in _KNOWN_KINDS
    return Wait(kind, max(delays) if is_known else None)


def _wait_order(wait: Wait) -> tuple[dt.timedelta, int]:
    delay = dt.timedelta.max if wait.delay is None else wait.delay
    return (delay, _UNSURENESS[wait.kind])


def _message(violations: Sequence[Violation]) -> str:
    # Candidates usually break the same limits; each is named once.
    named: dict[str, Violation] = {}
    for each in violations:
        named.setdefault(each.limit.limit_id, each)
    return " ".join(_sentence(each) for each in named.values())


def _sentence(each: Violation) -> str:
    limit = each.limit
    scope = " ".join(f"{name} {value}" for name, value in each.scope) or "the platform"
    share = ""
    if each.usable_cap < limit.cap:
        share = f", of which this priority may use {_amount(limit.metric, each.usable_cap)}"
    ask = f" Ask {limit.owner}." if limit.owner else ""
    return (
        f"Limit {limit.limit_id}: the {_window_name(limit.window)} cap of {scope} is "
        f"{_amount(limit.metric, limit.cap)}{share}; "
        f"{_amount(limit.metric, each.settled)} used, {_amount(limit.metric, each.held)} held, "
        f"{_amount(limit.metric, each.requested)} asked for.{ask}"
    )


def _window_name(window: Window) -> str:
    match window:
        case CalendarWindow():
            return _PERIOD_NAMES[window.period]
        case RollingWindow():
            return f"{_seconds(window.length_us)} rolling"
        case BucketWindow():
            return "burst"
        case IntervalWindow():
            return "interval's"
        case OpenWindow():
            return "concurrency"
        case _:
            return "total"


def _seconds(microseconds: int) -> str:
    return f"{microseconds / 1_000_000:g}-second"


def _amount(metric: Metric, amount: int) -> str:
    if metric is _COST:
        whole, fraction = divmod(amount, 10**9)
        digits = f"{fraction:09d}".rstrip("0").ljust(2, "0")
        return f"${whole}.{digits}"
    unit = "tokens" if metric is _TOKENS else "calls"
    return f"{amount} {unit if amount != 1 else unit[:-1]}"
