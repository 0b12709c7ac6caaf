"""The last minute of calls: what opens a breaker, and what people are told."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.health.domain import windows
from services.health.domain.breakers import Breaker, BreakerState, Cause, Key
from services.health.domain.windows import Figures, Slot, Tally, Window
from tests.unit.health.values import CREDENTIAL, KEY, NOW, RULES, SECOND

PRESENT = windows.slot_of(NOW)


def window(number: int = PRESENT, **orgs: tuple[int, int, int]) -> Window:
    """A window of one slot: calls, failed and slow ones of each org."""
    slot = Slot()
    for org, (calls, failed, slow) in orgs.items():
        slot.count(org, Tally(call_count=calls, failed_count=failed, slow_count=slow))
    return {number: slot}


def judge(found: Window, *, key: Key = KEY, breaker: Breaker | None = None) -> Cause | None:
    return windows.judge(breaker or Breaker(key=key), found, rules=RULES)


def test_half_of_twenty_calls_of_two_orgs_open() -> None:
    assert judge(window(acme=(10, 5, 0), globex=(10, 5, 0))) is Cause.FAILURE_RATE


def test_nineteen_calls_say_nothing() -> None:
    assert judge(window(acme=(10, 10, 0), globex=(9, 9, 0))) is None


def test_fewer_than_half_do_not_open() -> None:
    assert judge(window(acme=(10, 5, 0), globex=(10, 4, 0))) is None


def test_one_org_s_failures_alone_open_nothing_for_others() -> None:
    assert judge(window(acme=(1000, 1000, 0), globex=(10, 0, 0))) is None
    assert judge(window(acme=(1000, 1000, 0))) is None
    # Others fail now and then, as always.
    assert judge(window(acme=(1000, 1000, 0), globex=(100, 10, 0))) is None


def test_one_org_s_failures_open_its_own_credential() -> None:
    assert judge(window(acme=(20, 10, 0)), key=CREDENTIAL) is Cause.FAILURE_RATE


def test_slow_calls_open_too() -> None:
    assert judge(window(acme=(10, 0, 8), globex=(10, 0, 8))) is Cause.SLOW_CALLS
    assert judge(window(acme=(10, 0, 8), globex=(10, 0, 7))) is None


@pytest.mark.parametrize("state", [BreakerState.OPEN, BreakerState.HALF_OPEN])
def test_a_breaker_that_is_not_closed_is_not_judged(state: BreakerState) -> None:
    found = window(acme=(10, 10, 0), globex=(10, 10, 0))

    assert judge(found, breaker=Breaker(key=KEY, state=state)) is None


def test_what_was_before_the_last_change_of_state_does_not_count() -> None:
    found = window(PRESENT - 1, acme=(10, 10, 0), globex=(10, 10, 0))
    closed = Breaker(key=KEY, change_time=NOW - 5 * SECOND)

    assert judge(found, breaker=closed) is None
    assert judge(found, breaker=replace(closed, change_time=NOW - 50 * SECOND)) is not None


def test_merging_adds_and_drops_what_is_old_or_from_the_future() -> None:
    old = window(PRESENT - windows.SLOT_COUNT, acme=(1, 1, 0))
    known = window(PRESENT - 1, acme=(2, 1, 0)) | old
    added = window(PRESENT - 1, acme=(3, 0, 1)) | window(PRESENT + 1, acme=(9, 9, 9))

    merged = windows.merged(known, added, now=NOW)

    assert list(merged) == [PRESENT - 1]
    assert merged[PRESENT - 1].tallies == {"acme": Tally(5, 1, 1)}
    assert known[PRESENT - 1].tallies == {"acme": Tally(2, 1, 0)}


def test_orgs_beyond_the_bound_are_counted_together() -> None:
    slot = Slot()
    for number in range(windows.ORG_COUNT_MAX + 5):
        slot.count(f"org-{number}", Tally(1, 1, 0))

    assert len(slot.tallies) == windows.ORG_COUNT_MAX + 1
    assert slot.tallies[windows.OTHERS] == Tally(5, 5, 0)


def test_figures_are_rates_and_percentiles() -> None:
    found = window(acme=(3, 1, 0))
    for milliseconds, count in ((100, 9), (3200, 1)):
        bucket = windows.bucket_of(dt.timedelta(milliseconds=milliseconds))
        found[PRESENT].time(bucket, count)

    figures = windows.figures_of(found)

    assert (figures.call_count, figures.error_rate_percent) == (3, 34)
    assert figures.latency_p50_ms == pytest.approx(100, rel=0.1)
    assert figures.latency_p95_ms == pytest.approx(3200, rel=0.1)
    assert windows.figures_of({}) == Figures()


@given(st.timedeltas(min_value=dt.timedelta(0), max_value=dt.timedelta(days=1)))
def test_a_bucket_tells_a_latency_within_a_tenth(latency: dt.timedelta) -> None:
    bucket = windows.bucket_of(latency)

    told = 2 ** (bucket / windows.BUCKETS_PER_DOUBLING)
    real = max(latency / dt.timedelta(milliseconds=1), 1.0)
    assert told == pytest.approx(real, rel=0.1)


def test_trouble_is_a_failed_or_a_slow_call() -> None:
    assert not window(acme=(5, 0, 0))[PRESENT].is_troubled
    assert window(acme=(5, 1, 0))[PRESENT].is_troubled
    assert window(acme=(5, 0, 1))[PRESENT].is_troubled
