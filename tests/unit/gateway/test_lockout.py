"""How long an address is locked."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.lockout import LOCK_SECONDS_MAX, lock_seconds


def test_locks_begin_at_the_fifth_failure_and_double() -> None:
    assert [lock_seconds(count) for count in range(1, 12)] == [
        0, 0, 0, 0, 30, 60, 120, 240, 480, 900, 900,
    ]  # fmt: skip


@given(st.integers(min_value=0, max_value=10**9))
def test_no_lock_is_shorter_than_the_one_before_or_endless(count: int) -> None:
    assert 0 <= lock_seconds(count) <= lock_seconds(count + 1) <= LOCK_SECONDS_MAX


def test_nobody_guesses_more_than_a_hundred_passwords_a_day() -> None:
    seconds, count = 0.0, 0
    while seconds < 86_400:
        count += 1
        seconds += lock_seconds(count)

    assert count <= 105
