"""Counters of every kind of window, against plain models of what the window means."""

from __future__ import annotations

import datetime as dt
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.admission.domain.bindings import counter_key
from services.admission.domain.calls import RetryKind
from services.admission.domain.counters import (
    NEVER,
    UNKNOWN,
    BucketCounter,
    Counter,
    OpenCounter,
    RollingCounter,
    fresh,
)
from services.admission.domain.limits import Limit, Metric
from services.admission.domain.windows import (
    BucketWindow,
    IntervalWindow,
    OpenWindow,
    RollingWindow,
    TotalWindow,
    Window,
)

START = dt.datetime(2026, 5, 17, 12, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
MILLISECOND = dt.timedelta(milliseconds=1)
TTL = dt.timedelta(minutes=5)
# Milliseconds until the next call, what it asks for, and in percent what it uses of that.
STEPS = st.lists(
    st.tuples(st.integers(0, 4_000), st.integers(1, 6), st.integers(0, 100)), max_size=40
)


def make_counter(window: Window, metric: Metric = Metric.COST) -> Counter:
    limit = Limit(limit_id="x", scope=(), metric=metric, window=window, cap=10)
    return fresh(counter_key(limit, {}, START))


def fits(counter: Counter, amount: int, cap: int, now: dt.datetime) -> bool:
    counter.roll(now)
    return counter.settled + counter.held + amount <= cap


@given(
    steps=STEPS, seconds=st.integers(1, 8), slots=st.sampled_from((1, 2, 4, 10)), end=st.booleans()
)
def test_no_trailing_window_holds_more_than_the_cap(
    steps: list[tuple[int, int, int]], seconds: int, slots: int, end: bool
) -> None:
    window = RollingWindow(length_us=seconds * 1_000_000, slot_count=slots)
    counter, now, cap = make_counter(window), START, 10
    admitted: list[tuple[dt.datetime, int]] = []
    for wait, amount, percent in steps:
        now += wait * MILLISECOND
        if not fits(counter, amount, cap, now):
            continue
        counter.hold(amount, now, now + TTL)
        used = amount * percent // 100 if end else amount
        if end:
            counter.end_call(held=amount, charged=used, overrun=0, admit_time=now)
        admitted.append((now, used))
    for last, _ in admitted:
        first = last - seconds * SECOND
        assert sum(used for at, used in admitted if first < at <= last) <= cap


@given(steps=STEPS, seconds=st.integers(1, 8), slots=st.sampled_from((1, 2, 4, 10)))
def test_a_rolling_delay_is_exact(
    steps: list[tuple[int, int, int]], seconds: int, slots: int
) -> None:
    window = RollingWindow(length_us=seconds * 1_000_000, slot_count=slots)
    counter, now, cap = make_counter(window), START, 10
    for gap, amount, _ in steps:
        now += gap * MILLISECOND
        if fits(counter, amount, cap, now):
            counter.hold(amount, now, now + TTL)
            counter.end_call(held=amount, charged=amount, overrun=0, admit_time=now)
            continue
        kind, delay = counter.wait(amount, cap, now)
        assert kind is RetryKind.AT
        assert delay is not None
        before, after = (make_counter(window) for _ in range(2))
        for copy in (before, after):
            assert isinstance(copy, RollingCounter)
            assert isinstance(counter, RollingCounter)
            copy.slots = dict(counter.slots)
            copy.settled, copy.held = counter.settled, counter.held
        assert not fits(before, amount, cap, now + delay - dt.timedelta(microseconds=1))
        assert fits(after, amount, cap, now + delay)


def test_a_call_that_has_left_a_rolling_window_counts_no_more() -> None:
    counter = make_counter(RollingWindow(length_us=1_000_000, slot_count=2))
    counter.hold(5, START, START + TTL)
    later = START + 10 * SECOND
    assert counter.wait(6, 10, START).kind is RetryKind.AT_LATEST
    assert fits(counter, 10, 10, later)
    counter.end_call(held=5, charged=7, overrun=2, admit_time=START)
    counter.revise(charged=1, overrun=1, admit_time=START)
    assert (counter.held, counter.settled, counter.overrun) == (0, 0, 0)
    assert counter.wait(11, 10, later) == NEVER


def test_a_report_changes_the_slot_of_its_admission() -> None:
    counter = make_counter(RollingWindow(length_us=1_000_000, slot_count=2))
    counter.hold(5, START, START + TTL)
    counter.end_call(held=5, charged=7, overrun=2, admit_time=START)
    counter.revise(charged=-3, overrun=-2, admit_time=START)
    assert (counter.held, counter.settled, counter.overrun) == (0, 4, 0)


@given(steps=STEPS, amount=st.integers(1, 20), milliseconds=st.integers(1, 3_000))
def test_a_bucket_never_gives_more_than_burst_and_rate(
    steps: list[tuple[int, int, int]], amount: int, milliseconds: int
) -> None:
    window = BucketWindow(refill_amount=amount, refill_us=milliseconds * 1_000)
    rate, cap = Fraction(amount, milliseconds), 10
    counter, now = make_counter(window), START
    admitted: list[tuple[dt.datetime, int]] = []
    for wait, asked, percent in steps:
        now += wait * MILLISECOND
        if not fits(counter, asked, cap, now):
            kind, delay = counter.wait(asked, cap, now)
            assert kind is RetryKind.AT
            assert delay is not None
            # Exact to the microsecond: one less is too early.
            assert not fits(counter, asked, cap, now + delay - dt.timedelta(microseconds=1))
            continue
        counter.hold(asked, now, now + TTL)
        # What it used less is not given back.
        used = asked * percent // 100
        counter.end_call(held=asked, charged=used, overrun=0, admit_time=now)
        admitted.append((now, asked))
    for position, (first, _) in enumerate(admitted):
        total = 0
        for at, asked in admitted[position:]:
            total += asked
            assert total <= cap + rate * ((at - first) // MILLISECOND)


def test_a_bucket_waits_exactly_until_it_has_refilled() -> None:
    counter = make_counter(BucketWindow(refill_amount=3, refill_us=1_000_000))
    assert isinstance(counter, BucketCounter)
    counter.roll(START)
    counter.hold(10, START, START + TTL)
    # A third of a second for each, rounded up: at that instant it fits.
    assert counter.wait(1, 10, START).delay == dt.timedelta(microseconds=333_334)
    assert counter.wait(11, 10, START) == NEVER
    counter.end_call(held=10, charged=16, overrun=6, admit_time=START)
    assert (counter.settled, counter.overrun, counter.held) == (16, 6, 0)
    counter.revise(charged=-6, overrun=-6, admit_time=START)
    assert counter.settled == 16
    assert fits(counter, 0, 10, START + 2 * SECOND)
    assert counter.settled == 10


def test_concurrency_waits_for_the_last_to_expire() -> None:
    counter = make_counter(OpenWindow(), Metric.CONCURRENCY)
    assert isinstance(counter, OpenCounter)
    counter.hold(1, START, START + 2 * SECOND)
    counter.hold(1, START, START + SECOND)
    assert counter.wait(1, 2, START) == (RetryKind.AT_LATEST, 2 * SECOND)
    assert not counter.extend(START + SECOND)
    assert counter.extend(START + 4 * SECOND)
    assert counter.wait(1, 2, START) == (RetryKind.AT_LATEST, 4 * SECOND)
    assert counter.wait(1, 2, START + 9 * SECOND).delay == dt.timedelta()
    assert counter.wait(3, 2, START) == NEVER


@pytest.mark.parametrize(
    ("settled", "held", "wait"), [(10, 0, NEVER), (4, 6, UNKNOWN), (8, 2, UNKNOWN), (9, 1, NEVER)]
)
def test_a_total_only_has_room_again_if_holds_end_low(
    settled: int, held: int, wait: tuple[RetryKind, dt.timedelta | None]
) -> None:
    counter = make_counter(TotalWindow())
    counter.settled, counter.held = settled, held
    assert counter.wait(2, 10, START) == wait
    assert not counter.extend(START)


def test_an_interval_has_room_when_it_is_over() -> None:
    window = IntervalWindow(start=START - SECOND, end=START + SECOND)
    counter = make_counter(window)
    counter.settled = 10
    assert counter.wait(1, 10, START) == (RetryKind.AT, SECOND)
    counter.settled, counter.held = 5, 5
    assert counter.wait(1, 10, START) == (RetryKind.AT_LATEST, SECOND)
