"""Words and delays of denials.

A delay is the time until the same call would fit: exact if nothing settles meanwhile, and at most
exact otherwise. A call that asks for more than a cap can never fit.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

from services.admission.domain.calls import DenialReason, Denied, RetryKind, Violation
from services.admission.domain.limits import Fence, Metric
from services.admission.domain.windows import Period

_PERIOD_NAMES = {Period.DAY: "daily", Period.MONTH: "monthly"}


def fenced(fence: Fence) -> Denied:
    """Returns the denial of a call that a fence stops."""
    return Denied(
        reason=DenialReason.FENCED,
        message=fence.message or "All calls are stopped by the kill switch.",
    )


def deny(violations_by_candidate: Sequence[Sequence[Violation]], now: dt.datetime) -> Denied:
    """Returns the denial of a call whose candidates all broke some limit."""
    violations = [each for violated in violations_by_candidate for each in violated]
    is_rate = any(each.limit.metric is Metric.CALLS for each in violations)
    kind, delay = min(
        (_wait(violated, now) for violated in violations_by_candidate), key=_wait_order
    )
    return Denied(
        reason=DenialReason.RATE_EXCEEDED if is_rate else DenialReason.BUDGET_EXCEEDED,
        message=_message(violations),
        violations=tuple(violations),
        retry_kind=kind,
        retry_delay=delay,
    )


def _wait(
    violated: Sequence[Violation], now: dt.datetime
) -> tuple[RetryKind, dt.timedelta | None]:
    if any(each.requested > each.limit.cap for each in violated):
        return RetryKind.NEVER, None
    delay = max(each.reset_time for each in violated) - now
    # Open calls may end below their holds, and then room appears before the window ends.
    kind = RetryKind.AT_LATEST if any(each.held for each in violated) else RetryKind.AT
    return kind, delay


def _wait_order(wait: tuple[RetryKind, dt.timedelta | None]) -> dt.timedelta:
    return dt.timedelta.max if wait[1] is None else wait[1]


def _message(violations: Sequence[Violation]) -> str:
    # Candidates usually break the same limits; each is named once.
    named: dict[str, Violation] = {}
    for each in violations:
        named.setdefault(each.limit.limit_id, each)
    return " ".join(_sentence(each) for each in named.values())


def _sentence(each: Violation) -> str:
    limit = each.limit
    period = _PERIOD_NAMES[limit.window.period]
    scope = " ".join(f"{name} {value}" for name, value in each.scope) or "the platform"
    ask = f" Ask {limit.owner}." if limit.owner else ""
    return (
        f"Limit {limit.limit_id}: the {period} cap of {scope} is "
        f"{_amount(limit.metric, limit.cap)}; "
        f"{_amount(limit.metric, each.settled)} used, {_amount(limit.metric, each.held)} held, "
        f"{_amount(limit.metric, each.requested)} asked for.{ask}"
    )


def _amount(metric: Metric, amount: int) -> str:
    if metric is Metric.CALLS:
        return f"{amount} calls" if amount != 1 else "1 call"
    whole, fraction = divmod(amount, 10**9)
    digits = f"{fraction:09d}".rstrip("0").ljust(2, "0")
    return f"${whole}.{digits}"
