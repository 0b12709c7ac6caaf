from __future__ import annotations

from datetime import timedelta

import pytest

from headgate.decisions import Denial, DenialReason, RetryKind
from headgate.waiting import PAUSE_SECONDS_MAX, Waiting


def denial(
    kind: RetryKind,
    seconds: float | None = None,
    reason: DenialReason = DenialReason.RATE_EXCEEDED,
) -> Denial:
    return Denial(
        reason=reason,
        violations=(),
        retry_delay=None if seconds is None else timedelta(seconds=seconds),
        retry_kind=kind,
        message="",
        fallback_text="",
    )


def waiting(*, until: float = 100.0, random: float = 0.5) -> Waiting:
    return Waiting(until=until, random=lambda: random)


def test_a_promised_moment_is_waited_for_with_some_jitter() -> None:
    assert waiting(random=0.0).find_pause(denial(RetryKind.AT, 8), 0.0) == 8
    assert waiting(random=0.5).find_pause(denial(RetryKind.AT, 8), 0.0) == pytest.approx(8.4)
    assert waiting(random=0.5).find_pause(denial(RetryKind.AT, 60), 0.0) == pytest.approx(60.5)
    # Never beyond the time that the caller has.
    assert waiting(until=8.1).find_pause(denial(RetryKind.AT, 8), 0.0) == pytest.approx(8.1)


def test_a_moment_that_comes_too_late_is_not_waited_for() -> None:
    assert waiting(until=8.0).find_pause(denial(RetryKind.AT, 8.1), 0.0) is None


def test_a_latest_moment_is_asked_for_before_it_comes() -> None:
    calls = waiting(random=1.0)
    pauses = [calls.find_pause(denial(RetryKind.AT_LATEST, 1.0), 0.0) for _ in range(6)]

    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]


def test_without_a_moment_pauses_grow_to_a_bound() -> None:
    calls = waiting(random=1.0)
    pauses = [calls.find_pause(denial(RetryKind.UNKNOWN), 0.0) for _ in range(7)]

    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, PAUSE_SECONDS_MAX, PAUSE_SECONDS_MAX]


@pytest.mark.parametrize(
    "answer",
    [
        denial(RetryKind.NEVER),
        denial(RetryKind.NEVER, 1),
        denial(RetryKind.UNKNOWN, reason=DenialReason.UNREACHABLE),
    ],
)
def test_who_can_only_lose_time_does_not_wait(answer: Denial) -> None:
    assert waiting().find_pause(answer, 0.0) is None


def test_no_wait_goes_beyond_its_time() -> None:
    assert waiting(until=0.0).find_pause(denial(RetryKind.UNKNOWN), 0.0) is None
    assert waiting(until=0.05).find_pause(denial(RetryKind.UNKNOWN), 0.0) == 0.05
