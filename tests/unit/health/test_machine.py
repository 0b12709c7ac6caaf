"""The library's state machine, as it behaves over a mirrored row."""

from __future__ import annotations

from dataclasses import replace

import pybreaker
import pytest

from services.health.domain import machine
from services.health.domain.breakers import Breaker, BreakerState, unknown_breaker
from tests.unit.health.values import NOW, PROVIDER, RULES

CLOSED = unknown_breaker(PROVIDER)
HALF_OPEN = replace(CLOSED, state=BreakerState.HALF_OPEN, epoch=2, failure_count=5)


def failed(breaker: Breaker, times: int) -> Breaker:
    for _ in range(times):
        breaker = machine.after_failure(breaker, rules=RULES, now=NOW)
    return breaker


def test_four_failures_in_a_row_only_count() -> None:
    assert failed(CLOSED, 4) == replace(CLOSED, failure_count=4)


def test_the_fifth_failure_in_a_row_opens_and_begins_an_epoch() -> None:
    opened = failed(CLOSED, 5)

    assert opened == replace(
        CLOSED,
        state=BreakerState.OPEN,
        epoch=1,
        failure_count=5,
        open_until=NOW + RULES.open_duration,
        change_time=NOW,
    )


def test_a_success_ends_the_row_of_failures() -> None:
    recovered = machine.after_success(failed(CLOSED, 4), rules=RULES, now=NOW)

    assert recovered == CLOSED
    assert failed(recovered, 4).state is BreakerState.CLOSED


def test_half_opening_begins_an_epoch_and_forgets_older_probes() -> None:
    opened = replace(failed(CLOSED, 5), probe_success_count=1)

    assert machine.half_opened(opened, rules=RULES, now=NOW) == replace(
        opened,
        state=BreakerState.HALF_OPEN,
        epoch=2,
        probe_success_count=0,
        open_until=None,
    )


def test_as_many_probes_as_asked_must_succeed_before_it_closes() -> None:
    once = machine.after_success(HALF_OPEN, rules=RULES, now=NOW)
    twice = machine.after_success(once, rules=RULES, now=NOW)

    assert once == replace(HALF_OPEN, failure_count=0, probe_success_count=1)
    assert twice == replace(
        once, state=BreakerState.CLOSED, epoch=3, probe_success_count=0, change_time=NOW
    )


def test_one_failed_probe_opens_again() -> None:
    opened = machine.after_failure(replace(HALF_OPEN, probe_success_count=1), rules=RULES, now=NOW)

    assert opened == replace(
        HALF_OPEN,
        state=BreakerState.OPEN,
        epoch=3,
        failure_count=6,
        open_until=NOW + RULES.open_duration,
        change_time=NOW,
    )


def test_the_mirror_keeps_no_clock_of_this_process() -> None:
    mirror = machine._MirrorStorage(CLOSED)

    mirror.opened_at = NOW

    assert mirror.opened_at is None


def test_a_machine_that_hides_a_failure_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pybreaker.CircuitBreaker, "call", lambda _, __: None)

    with pytest.raises(AssertionError, match="swallowed a failure"):
        machine.after_failure(CLOSED, rules=RULES, now=NOW)
