"""Whether a call fits its limits on one candidate, what it holds there, and the hold itself."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping

from services.admission.domain.bindings import Binding, BoundLimit
from services.admission.domain.calls import Candidate, Reservation, Reserve, Violation
from services.admission.domain.counters import Counter
from services.admission.domain.estimates import STRICT_FROM_PERCENT, Amounts, Kind, adapt
from services.admission.domain.limits import PERCENT, Limit, Metric, Mode

Counters = Mapping[uuid.UUID, Counter]
_ESTIMATED = frozenset({Metric.COST, Metric.TOKENS})


def estimate(
    call: Reserve,
    candidate: Candidate,
    binding: Binding,
    *,
    counters: Counters,
    shares: Mapping[Kind, int],
) -> Amounts:
    """Returns what the call would hold: the worst case, unless its operation asks for less."""
    worst = Amounts(candidate.cost_nanos, candidate.token_count)
    if not call.adaptive_percent:
        return worst
    share = shares.get(Kind(call.operation, candidate.provider, candidate.model))
    if share is None:
        return worst
    adapted = adapt(worst, share_percent=share, factor_percent=call.adaptive_percent)
    for bound in binding.bounds:
        counter = counters[bound.key.counter_id]
        if counter.metric not in _ESTIMATED:
            continue
        used = counter.settled + counter.held + amount_of(counter.metric, adapted)
        if used * PERCENT > bound.limit.usable_cap(call.priority) * STRICT_FROM_PERCENT:
            return worst
    return adapted


def check(
    call: Reserve,
    candidate: Candidate,
    binding: Binding,
    *,
    counters: Counters,
    amounts: Amounts,
    now: dt.datetime,
) -> tuple[list[Violation], list[Violation]]:
    """Returns the limits that deny the call on this candidate, and those that only watch."""
    violated: list[Violation] = []
    shadow: list[Violation] = []
    for bound in binding.bounds:
        counter, limit = counters[bound.key.counter_id], bound.limit
        amount = amount_of(counter.metric, amounts)
        cap = limit.usable_cap(call.priority)
        if counter.settled + counter.held + amount > cap:
            watched = violated if limit.mode is Mode.ENFORCE else shadow
            watched.append(_violation(bound, counter, candidate, amount=amount, cap=cap, now=now))
    return violated, shadow


def amount_of(metric: Metric, amounts: Amounts) -> int:
    """Returns what a hold counts on a counter of this metric."""
    if metric is Metric.COST:
        return amounts.nanos
    return amounts.tokens if metric is Metric.TOKENS else 1


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


def place(opened: Reservation, counter: Counter, limit: Limit) -> None:
    """Counts a hold on one of its counters, and remembers under which cap."""
    metric = counter.metric
    counter.hold(opened.held(metric), opened.admit_time, opened.expire_time)
    counter.limit_id = limit.limit_id
    counter.high_cap = max(counter.high_cap, limit.cap)
    if limit.mode is Mode.SHADOW:
        # Nothing was capped here: whatever is used was allowed.
        counter.high_cap = max(counter.high_cap, counter.held + counter.settled)
    if metric in _ESTIMATED and opened.held(metric) < _worst(opened, metric):
        counter.statistical = True


def _worst(opened: Reservation, metric: Metric) -> int:
    return opened.worst_nanos if metric is Metric.COST else opened.worst_tokens


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
        wait=counter.wait(amount, cap, now),
        candidate=candidate,
    )
