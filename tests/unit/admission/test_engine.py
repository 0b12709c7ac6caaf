"""The ledger with limits of every kind: tokens, concurrency, shadow, priorities, estimates."""

from __future__ import annotations

import pytest

from services.admission.domain.calendars import Period
from services.admission.domain.calls import (
    Candidate,
    DenialReason,
    Denied,
    Expire,
    Held,
    Release,
    RetryKind,
    Settle,
)
from services.admission.domain.estimates import Kind
from services.admission.domain.fences import Fence
from services.admission.domain.limits import Metric, Mode, Priority, Shares
from services.admission.domain.windows import (
    BucketWindow,
    CalendarWindow,
    IntervalWindow,
    OpenWindow,
    RollingWindow,
    TotalWindow,
    Window,
)
from tests.unit.admission.bookkeeping import NOON, TTL, Bookkeeping
from tests.unit.admission.kinds import SECOND, key, make_call, make_limit


def test_tokens_are_held_and_settled_as_used_or_as_held_if_unknown() -> None:
    books = Bookkeeping(make_limit("tokens", Metric.TOKENS, 100))
    books.run(make_call(1, tokens=60), make_call(2, tokens=40))
    (denied,) = books.run(make_call(3, tokens=1))
    assert isinstance(denied, Denied)
    assert denied.reason is DenialReason.RATE_EXCEEDED
    assert "100 tokens" in denied.message
    books.run(Settle(key(1), 1, 5, 20), Settle(key(2), 1, 5))
    (counter,) = books.counters.values()
    assert (counter.held, counter.settled, counter.overrun) == (0, 60, 0)
    # A later revision that says more is overrun, as far as the hold did not cover it.
    books.run(Settle(key(1), 2, 5, 70))
    (counter,) = books.counters.values()
    assert (counter.settled, counter.overrun) == (110, 10)
    books.check()


def test_concurrency_counts_what_is_open() -> None:
    books = Bookkeeping(make_limit("open", Metric.CONCURRENCY, 2, window=OpenWindow()))
    books.run(make_call(1), make_call(2))
    (denied,) = books.run(make_call(3))
    assert isinstance(denied, Denied)
    assert denied.wait == (RetryKind.AT_LATEST, TTL)
    assert "concurrency cap" in denied.message
    books.run(Settle(key(1), 1, 5), Release(key(2)))
    outcomes = books.run(make_call(4), make_call(5), make_call(6))
    assert [type(each) for each in outcomes] == [Held, Held, Denied]
    books.now += TTL
    books.run(Expire(key(4)), Settle(key(4), 1, 500))
    (counter,) = books.counters.values()
    assert (counter.held, counter.settled, counter.overrun) == (1, 0, 0)
    books.check()


def test_a_shadow_limit_counts_and_never_denies() -> None:
    watched = make_limit("watched", Metric.COST, 15, mode=Mode.SHADOW)
    books = Bookkeeping(watched, make_limit("calls", Metric.CALLS, 3))
    outcomes = books.run(*(make_call(number) for number in range(4)))
    assert [type(each) for each in outcomes] == [Held, Held, Held, Denied]
    hits = [[hit.limit.limit_id for hit in each.shadow] for each in outcomes[:3]]  # type: ignore[union-attr]
    assert hits == [[], ["watched"], ["watched"]]
    assert isinstance(outcomes[3], Denied)
    assert [each.limit.limit_id for each in outcomes[3].violations] == ["calls"]
    books.check()


def test_lower_priorities_leave_their_share() -> None:
    shares = Shares(default_percent=50, sheddable_percent=20)
    books = Bookkeeping(make_limit("cost", Metric.COST, 100, shares=shares))
    kinds = [Priority.SHEDDABLE, Priority.DEFAULT, Priority.CRITICAL]
    admitted = [
        sum(
            isinstance(each, Held)
            for each in books.run(
                *(make_call(number * 100 + each, priority=kind) for each in range(12))
            )
        )
        for number, kind in enumerate(kinds)
    ]
    assert admitted == [2, 3, 5]
    (denied,) = books.run(make_call(999, 60, priority=Priority.DEFAULT))
    assert isinstance(denied, Denied)
    assert denied.wait.kind is RetryKind.NEVER
    assert denied.violations[0].usable_cap == 50
    assert "of which this priority may use" in denied.message


@pytest.mark.parametrize(
    ("window", "words"),
    [
        (CalendarWindow(period=Period.HOUR), "hourly"),
        (CalendarWindow(period=Period.WEEK), "weekly"),
        (RollingWindow(length_us=1_500_000, slot_count=3), "1.5-second rolling"),
        (BucketWindow(refill_amount=1, refill_us=1_000_000), "burst"),
        (IntervalWindow(start=NOON - SECOND, end=NOON + SECOND), "interval's"),
        (TotalWindow(), "total"),
    ],
)
def test_a_denial_says_what_window_it_is_about(window: Window, words: str) -> None:
    books = Bookkeeping(make_limit("x", Metric.COST, 15, window=window, owner="finance"))
    first, second = books.run(make_call(1), make_call(2))
    assert isinstance(first, Held)
    assert isinstance(second, Denied)
    assert second.message == (
        f"Limit x: the {words} cap of org acme is $0.000000015; {_used(window)} "
        "$0.00000001 asked for. Ask finance."
    )
    books.check_caps()


def _used(window: Window) -> str:
    # A bucket holds nothing: what was taken is gone.
    if isinstance(window, BucketWindow):
        return "$0.00000001 used, $0.00 held,"
    return "$0.00 used, $0.00000001 held,"


def test_all_limits_of_a_candidate_must_have_room_before_a_retry_makes_sense() -> None:
    books = Bookkeeping(
        make_limit("hour", Metric.CALLS, 1, window=CalendarWindow(period=Period.HOUR)),
        make_limit("ticket", Metric.COST, 15, window=TotalWindow()),
    )
    books.run(make_call(1))
    (unsure,) = books.run(make_call(2))
    assert isinstance(unsure, Denied)
    # The hour ends, but whether the ticket's budget has room depends on what is still open.
    assert unsure.wait == (RetryKind.UNKNOWN, None)
    books.run(Settle(key(1), 1, 10))
    (never,) = books.run(make_call(2))
    assert isinstance(never, Denied)
    assert never.wait == (RetryKind.NEVER, None)


def test_an_adaptive_estimate_holds_less_until_a_cap_is_near() -> None:
    books = Bookkeeping(
        make_limit("cost", Metric.COST, 1000), make_limit("calls", Metric.CALLS, 100)
    )
    books.shares = {Kind("chat", "p", "m"): 20}
    (small,) = books.run(make_call(1, 100, 50, adaptive_percent=150))
    assert isinstance(small, Held)
    assert (small.reservation.held_nanos, small.reservation.held_tokens) == (30, 15)
    cost = next(each for each in books.counters.values() if each.metric is Metric.COST)
    calls = next(each for each in books.counters.values() if each.metric is Metric.CALLS)
    assert (cost.statistical, calls.statistical) == (True, False)
    # Of another kind nothing is known; and the worst case is never exceeded.
    (unknown,) = books.run(make_call(2, 100, adaptive_percent=150, operation="other"))
    assert isinstance(unknown, Held)
    assert unknown.reservation.held_nanos == 100
    (all_of_it,) = books.run(make_call(3, 100, adaptive_percent=1000))
    assert isinstance(all_of_it, Held)
    assert all_of_it.reservation.held_nanos == 100
    books.run(make_call(4, 500))
    (near,) = books.run(make_call(5, 300, adaptive_percent=150))
    assert isinstance(near, Denied)
    assert near.violations[0].requested == 300
    books.check()


def test_a_fence_on_a_model_drops_this_candidate_only() -> None:
    books = Bookkeeping(make_limit("cost", Metric.COST, 100))
    books.fence = Fence(fence_id="f", sequence=1, active=True, scope=(("model", "m"),))
    both = (Candidate("p", "m", 10, 0), Candidate("p", "n", 10, 0))
    (other,) = books.run(make_call(1, candidates=both))
    assert isinstance(other, Held)
    assert other.reservation.model == "n"
    (none,) = books.run(make_call(2))
    assert isinstance(none, Denied)
    assert none.reason is DenialReason.FENCED
    dear = (Candidate("p", "m", 10, 0), Candidate("p", "n", 1000, 0))
    (limited,) = books.run(make_call(3, candidates=dear))
    assert isinstance(limited, Denied)
    assert limited.reason is DenialReason.BUDGET_EXCEEDED


def test_a_temporary_limit_promises_no_more_than_it_can() -> None:
    hour = 3_600 * SECOND
    fields = {"start": NOON - hour}
    books = Bookkeeping(make_limit("low", Metric.COST, 15, end=NOON + hour, **fields))
    books.run(make_call(1, 10), Settle(key(1), 1, 10))
    full, dear = books.run(make_call(2, 10), make_call(3, 16))
    assert isinstance(full, Denied)
    assert isinstance(dear, Denied)
    # Another limit decides in an hour, before the day ends: there may be room earlier.
    assert full.wait == (RetryKind.AT_LATEST, 12 * hour)
    assert dear.wait == (RetryKind.UNKNOWN, None)
    books.limits = [make_limit("low", Metric.COST, 15, end=NOON + 24 * hour, **fields)]
    (sure,) = books.run(make_call(2, 10))
    assert isinstance(sure, Denied)
    assert sure.wait == (RetryKind.AT, 12 * hour)
