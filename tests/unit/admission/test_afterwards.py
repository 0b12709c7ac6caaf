"""The ledger after the admission: extensions, fences on what runs, write-offs, thresholds."""

from __future__ import annotations

import datetime as dt

from services.admission.domain.calls import (
    Denied,
    Ended,
    Extend,
    Extended,
    Held,
    Release,
    Settle,
    State,
    Unknown,
    WriteOff,
)
from services.admission.domain.fences import Fence
from services.admission.domain.limits import Metric, ordered
from services.admission.domain.windows import (
    OpenWindow,
    TotalWindow,
)
from tests.unit.admission.bookkeeping import NOON, TTL, Bookkeeping
from tests.unit.admission.kinds import SECOND, key, make_call, make_limit


def test_an_extension_lets_a_hold_live_longer_and_never_shorter() -> None:
    books = Bookkeeping(make_limit("open", Metric.CONCURRENCY, 9, window=OpenWindow()))
    held, extended = books.run(make_call(1), Extend(key(1), 2 * TTL))
    assert isinstance(held, Held)
    assert isinstance(extended, Extended)
    assert extended.expire_time == NOON + 2 * TTL == held.reservation.expire_time
    assert not books.last_changes.extended
    (again,) = books.run(Extend(key(1), SECOND))
    assert isinstance(again, Extended)
    assert again.expire_time == NOON + 2 * TTL
    assert not books.last_changes
    (longer,) = books.run(Extend(key(1), 3 * TTL))
    assert isinstance(longer, Extended)
    assert set(books.last_changes.extended) == {key(1)}
    books.now += 3 * TTL
    (late,) = books.run(Extend(key(1), TTL))
    assert late == Ended(State.EXPIRED, 10)
    assert books.run(Extend(key(2), TTL)) == [Unknown(key(2))]
    books.run(Release(key(3)))
    assert books.run(Extend(key(3), TTL)) == [Unknown(key(3))]
    books.check()


def test_an_extended_call_that_ends_in_the_same_batch_is_only_ended() -> None:
    books = Bookkeeping(make_limit("cost", Metric.COST, 100))
    books.run(make_call(1))
    books.run(Extend(key(1), 2 * TTL), Settle(key(1), 1, 4))
    assert not books.last_changes.extended
    books.check()


def test_a_fence_stops_running_calls_too() -> None:
    books = Bookkeeping(make_limit("cost", Metric.COST, 100))
    books.run(make_call(1))
    books.fence = Fence(
        fence_id="f", sequence=1, active=True, scope=ordered({"user": "ann", "model": "m"})
    )
    (free,) = books.run(Extend(key(1), TTL, {"user": "bob"}))
    assert isinstance(free, Extended)
    assert free.fence is None
    (stopped,) = books.run(Extend(key(1), TTL, {"user": "ann"}))
    assert isinstance(stopped, Extended)
    assert stopped.fence is books.fence
    (replay,) = books.run(make_call(1, dimensions={"user": "ann"}))
    assert isinstance(replay, Denied)


def test_what_is_written_off_is_charged_no_more_until_it_is_reported() -> None:
    books = Bookkeeping(
        make_limit("cost", Metric.COST, 100), make_limit("calls", Metric.CALLS, 100)
    )
    books.run(make_call(1), make_call(2))
    books.run(Settle(key(2), 1, 10))
    books.now += TTL
    assert books.run(WriteOff(key(1))) == [Ended(State.WRITTEN_OFF, 0)]
    ((order, before),) = books.last_changes.written_off
    assert (order.key, before.state, before.settled_nanos) == (key(1), State.EXPIRED, 10)
    assert sorted(each.settled for each in books.counters.values()) == [1, 10]
    # Again, or of a call that was reported, it changes nothing.
    assert books.run(WriteOff(key(1))) == [Ended(State.WRITTEN_OFF, 0)]
    assert books.run(WriteOff(key(2))) == [Ended(State.SETTLED, 10)]
    assert books.run(WriteOff(key(3))) == [Unknown(key(3))]
    assert not books.last_changes
    books.check()
    assert books.run(Settle(key(1), 1, 7)) == [Ended(State.LATE, 7)]
    assert sorted((each.settled, each.overrun) for each in books.counters.values()) == [
        (2, 1), (17, 7),
    ]  # fmt: skip
    books.check()


def test_each_threshold_is_raised_once_in_a_period() -> None:
    books = Bookkeeping(make_limit("cost", Metric.COST, 100, owner="finance"))
    raised: list[int] = []
    for number, used in enumerate((40, 10, 35, 5, 10, 30)):
        books.run(make_call(number, 0), Settle(key(number), 1, used))
        raised += [each.percent for each in books.last_changes.crossings]
    assert raised == [50, 80, 100]
    (crossing,) = {each.owner for each in books.crossings}
    assert crossing == "finance"
    # Falling below and reaching it again raises nothing.
    books.run(Settle(key(0), 2, 0), Settle(key(0), 3, 60))
    assert not books.last_changes.crossings
    # A new period starts anew.
    books.now += dt.timedelta(days=1)
    books.run(make_call(90, 0), Settle(key(90), 1, 55))
    assert [each.percent for each in books.last_changes.crossings] == [50]


def test_what_is_held_crosses_no_threshold() -> None:
    books = Bookkeeping(make_limit("cost", Metric.COST, 100))
    books.run(make_call(1), make_call(2, 50))
    books.run(Settle(key(1), 1, 45))
    assert any(each.held for each in books.counters.values())
    assert not books.crossings


def test_thresholds_follow_the_limit_that_admitted_last() -> None:
    limit = make_limit("cost", Metric.COST, 100, alert_percents=(10,))
    books = Bookkeeping(limit)
    books.run(make_call(1, 20), make_call(2, 20), make_call(3, 20))
    # The limit is gone, or became one of another counter: nobody is alerted by mistake.
    books.limits = []
    books.run(Settle(key(1), 1, 20))
    assert not books.crossings
    books.limits = [make_limit("cost", Metric.COST, 1, window=TotalWindow())]
    books.run(Settle(key(2), 1, 20))
    assert not books.crossings
    books.limits = [limit]
    books.run(Settle(key(3), 1, 20))
    assert [(each.percent, each.settled) for each in books.crossings] == [(10, 60)]
