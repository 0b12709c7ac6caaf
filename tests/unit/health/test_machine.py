"""The library's state machine, as it behaves over a mirrored row."""

from __future__ import annotations

from dataclasses import replace

import pybreaker
import pytest

from services.health.domain import machine
from services.health.domain.breakers import Breaker, BreakerState, Forced
from tests.unit.health.values import CREDENTIAL, KEY, NOW, RULES

ORGS = ("acme", "globex")
CLOSED = Breaker(key=KEY, failure_orgs=ORGS)
HALF_OPEN = replace(CLOSED, state=BreakerState.HALF_OPEN, epoch=2, failure_count=5)


def failed(breaker: Breaker, times: int) -> Breaker:
    for _ in range(times):
        breaker = machine.after_failure(breaker, rules=RULES)
    return breaker


def test_four_failures_in_a_row_only_count() -> None:
    assert failed(CLOSED, 4) == replace(CLOSED, failure_count=4)


def test_the_fifth_failure_in_a_row_opens() -> None:
    assert failed(CLOSED, 5) == replace(CLOSED, state=BreakerState.OPEN, failure_count=5)


def test_failures_of_one_org_open_its_credential_s_breaker_and_never_a_provider_s() -> None:
    alone = replace(CLOSED, failure_orgs=("acme",))

    assert failed(alone, 50) == replace(alone, failure_count=50)
    assert failed(replace(alone, key=CREDENTIAL), 5).state is BreakerState.OPEN


def test_the_failure_of_a_second_org_opens_at_once_when_there_were_enough() -> None:
    many = replace(failed(replace(CLOSED, failure_orgs=("acme",)), 7), failure_orgs=ORGS)

    assert failed(many, 1).state is BreakerState.OPEN


def test_a_breaker_that_a_person_closed_counts_and_does_not_open() -> None:
    held = replace(CLOSED, forced=Forced.CLOSED)

    assert failed(held, 50) == replace(held, failure_count=50)


def test_opening_and_closing_ask_nobody() -> None:
    assert machine.opened(CLOSED, rules=RULES).state is BreakerState.OPEN
    assert machine.closed(failed(CLOSED, 5), rules=RULES) == replace(CLOSED, failure_orgs=())


def test_a_success_ends_the_row_of_failures() -> None:
    recovered = machine.after_success(failed(CLOSED, 4), rules=RULES)

    assert recovered == replace(CLOSED, failure_orgs=())


def test_half_opening_forgets_older_probes() -> None:
    opened = replace(failed(CLOSED, 5), probe_success_count=1)

    assert machine.half_opened(opened, rules=RULES) == replace(
        opened, state=BreakerState.HALF_OPEN, probe_success_count=0
    )


def test_as_many_probes_as_asked_must_succeed_before_it_closes() -> None:
    once = machine.after_success(HALF_OPEN, rules=RULES)
    twice = machine.after_success(once, rules=RULES)

    assert once == replace(HALF_OPEN, failure_count=0, failure_orgs=(), probe_success_count=1)
    assert twice == replace(once, state=BreakerState.CLOSED, probe_success_count=0)


def test_one_failed_probe_opens_again() -> None:
    opened = machine.after_failure(replace(HALF_OPEN, probe_success_count=1), rules=RULES)

    assert opened == replace(HALF_OPEN, state=BreakerState.OPEN, failure_count=6)


def test_the_mirror_keeps_no_clock_of_this_process() -> None:
    mirror = machine._MirrorStorage(CLOSED)

    mirror.opened_at = NOW

    assert mirror.opened_at is None


def test_a_machine_that_hides_a_failure_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pybreaker.CircuitBreaker, "call", lambda _, __: None)

    with pytest.raises(AssertionError, match="swallowed a failure"):
        machine.after_failure(CLOSED, rules=RULES)
