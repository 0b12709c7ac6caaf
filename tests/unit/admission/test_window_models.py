"""Every kind of window decides as its plain model does, and its retry delays are true."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.admission.domain.calendars import Period
from services.admission.domain.calls import (
    CallKey,
    Denied,
    Expire,
    Held,
    Release,
    RetryKind,
    Settle,
)
from services.admission.domain.limits import Limit, Metric
from services.admission.domain.windows import (
    BucketWindow,
    CalendarWindow,
    IntervalWindow,
    RollingWindow,
    TotalWindow,
    Window,
)
from tests.unit.admission.bookkeeping import Bookkeeping, make_reserve
from tests.unit.admission.plain_windows import (
    MICROSECOND,
    Model,
    Use,
    length_of,
    model_of,
)

CAP = 100
START = dt.datetime(2026, 3, 28, 21, 59, 30, tzinfo=dt.UTC)
WINDOWS: list[Window] = [
    CalendarWindow(period=Period.HOUR, time_zone="Europe/Amsterdam"),
    CalendarWindow(period=Period.DAY, time_zone="Europe/Amsterdam"),
    RollingWindow(length_us=60_000_000, slot_count=12),
    RollingWindow(length_us=60_000_000, slot_count=1),
    RollingWindow(length_us=1_000_000, slot_count=8),
    BucketWindow(refill_amount=7, refill_us=1_000_000),
    BucketWindow(refill_amount=1, refill_us=333),
    BucketWindow(refill_amount=1_000, refill_us=60_000_000),
    TotalWindow(),
    IntervalWindow(start=START - dt.timedelta(days=1), end=START + dt.timedelta(hours=3)),
]


class Side:
    """The engine and the model side by side, under one limit on cost."""

    def __init__(self, window: Window) -> None:
        limit = Limit(
            limit_id="limit", scope=(("org", "*"),), metric=Metric.COST, window=window, cap=CAP
        )
        self.books = Bookkeeping(limit)
        self.books.now = START
        self.model: Model = model_of(window)
        self.uses: dict[CallKey, Use] = {}
        # (instant, cost) of all that was admitted.
        self.admitted: list[tuple[dt.datetime, int]] = []

    def reserve(self, cost: int) -> None:
        """Asks for a call; both sides must decide alike."""
        number, now = len(self.uses) + 1_000 * len(self.books.reservations), self.books.now
        call = make_reserve(number, cost)
        (outcome,) = self.books.run(call)
        fits = self.model.used(now) + cost <= CAP
        assert isinstance(outcome, Held if fits else Denied)
        if fits:
            self.uses[call.key] = self.model.admit(cost, now)
            self.admitted.append((now, cost))
        elif isinstance(outcome, Denied):
            self.check_wait(outcome, cost)

    def check_wait(self, denied: Denied, cost: int) -> None:
        """Nothing fits before the delay is over, and the call does then."""
        kind, delay = denied.wait
        if kind in (RetryKind.NEVER, RetryKind.UNKNOWN):
            assert delay is None
            assert cost > CAP or isinstance(self.model_window, TotalWindow)
            return
        assert delay is not None
        assert delay > dt.timedelta()
        then = self.books.now + delay
        assert self.fits_at(then, cost)
        assert not self.fits_at(then - MICROSECOND, cost)

    def fits_at(self, instant: dt.datetime, cost: int) -> bool:
        """Whether the model has room at a later instant, if nothing else happens."""
        if isinstance(self.model_window, IntervalWindow) and instant >= self.model_window.end:
            return True
        return self.model.used(instant) + cost <= CAP

    @property
    def model_window(self) -> Window:
        """The window of both."""
        return self.books.limits[0].window

    def end(self, key: CallKey, used: int) -> None:
        """Reports what a call used."""
        self.books.run(Settle(key, 1, used))
        self.model.revise(self.uses.pop(key), used, self.books.now)

    def release(self, key: CallKey) -> None:
        """Gives a call's hold back."""
        self.books.run(Release(key))
        self.model.revise(self.uses.pop(key), 0, self.books.now)

    def pass_time(self, step: dt.timedelta) -> None:
        """Lets time pass, and expires what it must."""
        self.books.now += step
        for key in list(self.uses):
            if self.books.reservations[key].expire_time <= self.books.now:
                self.books.run(Expire(key))
                # Charged as held.
                self.uses.pop(key)


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "reserve", "reserve", "end", "release"]),
        st.integers(0, 130),
        st.one_of(
            st.integers(0, 20),
            st.integers(0, 2_000_000),
            st.integers(0, 70_000_000),
            st.sampled_from([1_800_000_000, 3_600_000_000, 40_000_000_000]),
        ),
    ),
    max_size=25,
)


def play(side: Side, steps: list[tuple[str, int, int]]) -> None:
    for action, amount, microseconds in steps:
        now = side.books.now + dt.timedelta(microseconds=microseconds)
        window = side.model_window
        if isinstance(window, IntervalWindow) and now >= window.end:
            return
        side.pass_time(dt.timedelta(microseconds=microseconds))
        keys = sorted(side.uses)
        if action == "reserve" or not keys:
            side.reserve(amount)
        elif action == "end":
            side.end(keys[amount % len(keys)], amount)
        else:
            side.release(keys[amount % len(keys)])


@pytest.mark.parametrize("window", WINDOWS, ids=repr)
@settings(max_examples=30)
@given(steps=STEPS)
def test_every_window_decides_as_its_model(
    window: Window, steps: list[tuple[str, int, int]]
) -> None:
    play(Side(window), steps)


@pytest.mark.parametrize(
    "window", [each for each in WINDOWS if isinstance(each, RollingWindow)], ids=repr
)
@settings(max_examples=30)
@given(steps=STEPS)
def test_no_trailing_window_admits_more_than_the_cap(
    window: RollingWindow, steps: list[tuple[str, int, int]]
) -> None:
    side = Side(window)
    play(side, [("reserve", amount, step) for _, amount, step in steps])
    for end, _ in side.admitted:
        start = end - length_of(window)
        assert sum(cost for at, cost in side.admitted if start < at <= end) <= CAP


@pytest.mark.parametrize(
    "window", [each for each in WINDOWS if isinstance(each, BucketWindow)], ids=repr
)
@settings(max_examples=30)
@given(steps=STEPS)
def test_no_time_admits_more_than_burst_and_rate(
    window: BucketWindow, steps: list[tuple[str, int, int]]
) -> None:
    side = Side(window)
    play(side, steps)
    for first, (start, _) in enumerate(side.admitted):
        total = 0
        for end, cost in side.admitted[first:]:
            total += cost
            microseconds = (end - start) // MICROSECOND
            refilled = microseconds * window.refill_amount / window.refill_us
            assert total <= CAP + refilled


@pytest.mark.parametrize("window", WINDOWS, ids=repr)
def test_a_call_may_fill_its_cap_to_the_last(window: Window) -> None:
    side = Side(window)
    side.reserve(CAP - 1)
    side.reserve(1)
    assert sum(cost for _, cost in side.admitted) == CAP


def test_a_released_call_gives_a_bucket_nothing_back() -> None:
    side = Side(BucketWindow(refill_amount=1, refill_us=1_000_000))
    side.reserve(CAP)
    (key,) = side.uses
    side.release(key)
    (outcome,) = side.books.run(make_reserve(7, 1))
    assert isinstance(outcome, Denied)
    assert outcome.wait == (RetryKind.AT, dt.timedelta(seconds=1))


def test_a_rolling_call_is_charged_to_the_slot_of_its_admission() -> None:
    """Settled later, it leaves no later."""
    window = RollingWindow(length_us=60_000_000, slot_count=60)
    side = Side(window)
    side.reserve(CAP)
    (key,) = side.uses
    side.books.now += dt.timedelta(seconds=50)
    side.end(key, CAP)
    (outcome,) = side.books.run(make_reserve(7, 1))
    assert isinstance(outcome, Denied)
    assert outcome.wait == (RetryKind.AT, dt.timedelta(seconds=11))
    side.books.now += dt.timedelta(seconds=11)
    assert isinstance(side.books.run(make_reserve(8, CAP))[0], Held)


def test_a_slot_leaves_when_all_of_it_has() -> None:
    side = Side(RollingWindow(length_us=60_000_000, slot_count=12))
    # Near the end of a slot of five seconds.
    side.pass_time(dt.timedelta(seconds=4.5))
    side.reserve(CAP)
    side.pass_time(dt.timedelta(seconds=59.999))
    (outcome,) = side.books.run(make_reserve(7, 1))
    assert isinstance(outcome, Denied), "a trailing minute admits more than the cap"
    side.pass_time(dt.timedelta(seconds=0.501))
    assert isinstance(side.books.run(make_reserve(8, CAP))[0], Held)


def test_a_bucket_has_room_when_it_says_so_and_not_before() -> None:
    side = Side(BucketWindow(refill_amount=7, refill_us=1_000_000))
    side.reserve(CAP)
    side.reserve(1)
    (outcome,) = side.books.run(make_reserve(7, 1))
    assert isinstance(outcome, Denied)
    assert outcome.wait == (RetryKind.AT, dt.timedelta(microseconds=142_858))
