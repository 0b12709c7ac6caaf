"""Whether a call fits its limits on one candidate, what it holds there, and the hold itself."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

from services.admission.domain.bindings import Binding, BoundLimit
from services.admission.domain.calls import (
    UNKNOWN_WAIT,
    Candidate,
    Reservation,
    Reserve,
    RetryKind,
    Violation,
    Wait,
)
from services.admission.domain.counters import Counter
from services.admission.domain.estimates import STRICT_FROM_PERCENT, Amounts, Kind, adapt
from services.admission.domain.limits import PERCENT, Limit, Metric, Mode
from services.admission.domain.windows import FOREVER

# The limits of a binding, each with its counter in the batch that decides.
Bounds: TypeAlias = Sequence[tuple[BoundLimit, Counter]]
_ESTIMATED: Final = frozenset({Metric.COST, Metric.TOKENS})
# Asked for every counter of every call: a member of an enum takes ten times as long to find.
_ENFORCE, _SHADOW = Mode.ENFORCE, Mode.SHADOW


def estimate(
    call: Reserve, candidate: Candidate, bounds: Bounds, *, shares: Mapping[Kind, int]
) -> Amounts:
    """Returns what the call would hold: the worst case, unless its operation asks for less."""
    worst = Amounts(candidate.cost_nanos, candidate.token_count)
    if not call.adaptive_percent:
        return worst
    share = shares.get(Kind(call.operation, candidate.provider, candidate.model))
    if share is None:
        return worst
    adapted = adapt(worst, share_percent=share, factor_percent=call.adaptive_percent)
    amounts = adapted.by_metric()
    for bound, counter in bounds:
        if counter.metric not in _ESTIMATED:
            continue
        used = counter.settled + counter.held + amounts[counter.metric]
        if used * PERCENT > bound.limit.usable_caps[call.priority] * STRICT_FROM_PERCENT:
            return worst
    return adapted


def check(
    call: Reserve, candidate: Candidate, bounds: Bounds, *, amounts: Amounts, now: dt.datetime
) -> tuple[list[Violation], list[Violation]]:
    """Returns the limits that deny the call on this candidate, and those that only watch."""
    violated: list[Violation] = []
    shadow: list[Violation] = []
    amount_by_metric, priority = amounts.by_metric(), call.priority
    for bound, counter in bounds:
        limit, amount = bound.limit, amount_by_metric[counter.metric]
        cap = limit.usable_caps[priority]
        if counter.settled + counter.held + amount > cap:
            watched = violated if limit.mode is _ENFORCE else shadow
            watched.append(_violation(bound, counter, candidate, amount=amount, cap=cap, now=now))
    return violated, shadow


def reservation(
    call: Reserve, candidate: Candidate, binding: Binding, amounts: Amounts, now: dt.datetime
) -> Reservation:
    """Returns the hold of a call that is admitted now."""
    return Reservation(
        key=call.key,
        fingerprint=call.fingerprint,
        operation=call.operation,
        provider=candidate.provider,
        model=candidate.model,
        held_nanos=amounts.nanos,
        held_tokens=amounts.tokens,
        worst_nanos=candidate.cost_nanos,
        worst_tokens=candidate.token_count,
        set_id=binding.set_id,
        admit_time=now,
        expire_time=now + call.hold_duration,
        price_version=call.price_version,
        breaker_epoch=candidate.breaker_epoch,
    )


def place(opened: Reservation, bounds: Bounds) -> None:
    """Counts a hold on its counters, and remembers under which caps."""
    now, expire_time = opened.admit_time, opened.expire_time
    held = Amounts(opened.held_nanos, opened.held_tokens)
    amounts = held.by_metric()
    for bound, counter in bounds:
        limit = bound.limit
        counter.hold(amounts[counter.metric], now, expire_time)
        counter.limit_id = limit.limit_id
        counter.high_cap = max(counter.high_cap, limit.cap)
        if limit.mode is _SHADOW:
            # Nothing was capped here: whatever is used was allowed.
            counter.high_cap = max(counter.high_cap, counter.held + counter.settled)
    worst = Amounts(opened.worst_nanos, opened.worst_tokens)
    if held != worst:
        most = worst.by_metric()
        for _, counter in bounds:
            if amounts[counter.metric] < most[counter.metric]:
                counter.statistical = True


def _violation(
    bound: BoundLimit,
    counter: Counter,
    candidate: Candidate,
    *,
    amount: int,
    cap: int,
    now: dt.datetime,
) -> Violation:
    return Violation(
        limit=bound.limit,
        scope=bound.key.scope,
        usable_cap=cap,
        settled=counter.settled,
        held=counter.held,
        requested=amount,
        excess=counter.settled + counter.held + amount - cap,
        reset_time=bound.key.span.end,
        wait=_wait(bound.limit, counter.wait(amount, cap, now), now),
        candidate=candidate,
    )


def _wait(limit: Limit, wait: Wait, now: dt.datetime) -> Wait:
    """Returns what a delay is worth if another limit takes this one's place before it is over."""
    if limit.end == FOREVER:
        return wait
    if wait.delay is None:
        # The next one may have room.
        return UNKNOWN_WAIT
    return wait if now + wait.delay <= limit.end else Wait(RetryKind.AT_LATEST, wait.delay)
