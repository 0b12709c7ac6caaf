"""Backoff and quiet hours."""

from __future__ import annotations

import datetime as dt
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.accounting.domain.event_types import Severity
from services.accounting.domain.schedules import (
    ATTEMPT_COUNT_MAX,
    BACKOFF_FIRST,
    BACKOFF_MAX,
    JITTER,
    MINUTES_PER_DAY,
    QuietHours,
    hold_back,
    wait_after,
)

DAY = dt.timedelta(days=1)
NIGHT = QuietHours(start_minute=22 * 60, end_minute=7 * 60, time_zone="Europe/Amsterdam")
NOON = QuietHours(start_minute=12 * 60, end_minute=13 * 60 + 30, time_zone="UTC")


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).astimezone(dt.UTC)


def waits(fraction: float) -> list[dt.timedelta]:
    found: list[dt.timedelta] = []
    for attempt in count(1):
        wait = wait_after(attempt, fraction=fraction)
        if wait is None:
            return found
        found.append(wait)
    raise AssertionError


def test_a_receiver_that_is_broken_for_a_day_gets_everything() -> None:
    for fraction in (0.0, 1.0):
        assert len(waits(fraction)) == ATTEMPT_COUNT_MAX - 1
        assert sum(waits(fraction), dt.timedelta()) > DAY


def test_waits_grow_to_a_bound_and_are_spread() -> None:
    shortest, longest = waits(0.0), waits(1.0)

    assert shortest[0] == BACKOFF_FIRST
    assert shortest == sorted(shortest)
    assert shortest[-1] == BACKOFF_MAX
    assert [b / a for a, b in zip(shortest, longest, strict=True)] == pytest.approx(
        [1 + JITTER] * len(shortest)
    )


@pytest.mark.parametrize(
    ("asked_seconds", "expected"),
    [(1, BACKOFF_FIRST), (60, dt.timedelta(minutes=1)), (10**7, BACKOFF_MAX)],
)
def test_what_a_receiver_asks_for_may_only_lengthen_a_wait(
    asked_seconds: int, expected: dt.timedelta
) -> None:
    asked = dt.timedelta(seconds=asked_seconds)

    assert wait_after(1, fraction=0.0, asked=asked) == expected


def test_the_last_attempt_is_the_last_whatever_is_asked_for() -> None:
    assert wait_after(ATTEMPT_COUNT_MAX, fraction=0.0, asked=DAY) is None


@pytest.mark.parametrize(
    ("quiet", "now", "end"),
    [
        (NIGHT, "2026-11-26T21:59:59+01:00", None),
        (NIGHT, "2026-11-26T22:00:00+01:00", "2026-11-27T07:00:00+01:00"),
        (NIGHT, "2026-11-27T06:59:59+01:00", "2026-11-27T07:00:00+01:00"),
        (NIGHT, "2026-11-27T07:00:00+01:00", None),
        (NOON, "2026-11-26T11:59:59+00:00", None),
        (NOON, "2026-11-26T12:00:00+00:00", "2026-11-26T13:30:00+00:00"),
        (NOON, "2026-11-26T13:30:00+00:00", None),
        # The night in which the clock is set forward has an hour less.
        (NIGHT, "2026-03-28T22:00:00+01:00", "2026-03-29T07:00:00+02:00"),
    ],
)
def test_quiet_hours_hold_back_until_they_end(
    quiet: QuietHours, now: str, end: str | None
) -> None:
    held = hold_back(quiet, Severity.WARNING, now=at(now))

    assert held == (None if end is None else at(end))


def test_nothing_holds_back_what_is_critical_or_has_no_quiet_hours() -> None:
    midnight = at("2026-11-26T23:59:00+00:00")

    assert hold_back(NIGHT, Severity.CRITICAL, now=midnight) is None
    assert hold_back(None, Severity.INFO, now=midnight) is None


@given(
    start=st.integers(0, MINUTES_PER_DAY - 1),
    length=st.integers(1, MINUTES_PER_DAY - 1),
    seconds=st.integers(0, 2 * 366 * 86_400),
    zone=st.sampled_from(["UTC", "Europe/Amsterdam", "Asia/Kathmandu", "Pacific/Apia"]),
)
def test_quiet_hours_always_end_and_never_behind_us(
    start: int, length: int, seconds: int, zone: str
) -> None:
    now = at("2026-01-01T00:00:00+00:00") + dt.timedelta(seconds=seconds)
    end_minute = (start + length) % MINUTES_PER_DAY
    quiet = QuietHours(start_minute=start, end_minute=end_minute, time_zone=zone)
    end = quiet.end_after(now)

    # An hour more: the day on which the clock is set back.
    assert end is None or now < end <= now + DAY + dt.timedelta(hours=1)
