"""What outcomes change, and which calls may probe."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.health.domain import decisions
from services.health.domain.breakers import (
    Breaker,
    BreakerState,
    Change,
    Observation,
    ProbePermit,
    ProbeWish,
    Situation,
)
from services.health.domain.decisions import Acquired, Observed
from services.health.domain.signals import Signal
from tests.unit.health.values import (
    KEY,
    NOW,
    PROVIDER,
    RULES,
    SECOND,
    after,
    call,
    failures,
    observation,
    situation,
    wish,
)

CLOSED = Breaker(key=KEY)
UNCHANGED = Change(provider=PROVIDER)
OPEN = replace(
    CLOSED,
    state=BreakerState.OPEN,
    epoch=1,
    last_epoch=1,
    failure_count=5,
    failure_orgs=("acme", "globex"),
    open_count=1,
    open_until=NOW + SECOND,
    change_time=NOW,
)
HALF_OPEN = replace(OPEN, state=BreakerState.HALF_OPEN, epoch=2, last_epoch=2, open_until=None)


def permit(number: int, *, epoch: int = 2, seconds: int = 1) -> ProbePermit:
    return ProbePermit(key=KEY, call=call(number), epoch=epoch, expire_time=NOW + seconds * SECOND)


def observe(before: Situation, *observations: Observation) -> Observed:
    return decisions.observe(before, observations, rules=RULES)


def lengthen(number: int, seconds: int) -> ProbeWish:
    return replace(wish(number), lease=seconds * SECOND, extends=True)


def test_an_extension_lets_a_probe_live_longer_and_grants_none() -> None:
    before = situation(HALF_OPEN, permits=(permit(1), permit(2, epoch=1), permit(3, seconds=9)))

    acquired = acquire(before, *(lengthen(number, 5) for number in (1, 2, 3, 4)))

    assert acquired.granted == (True, True, True, False)
    # The one of an older epoch counts on as such; none is shortened.
    assert set(acquired.change.added) == {permit(1, seconds=5), permit(2, epoch=1, seconds=5)}


def acquire(before: Situation, *wishes: ProbeWish) -> Acquired:
    return decisions.acquire(before, wishes, rules=RULES)


def test_a_failure_of_an_unknown_provider_counts_from_the_first() -> None:
    observed = observe(situation(), observation(Signal.FAILED))

    [change] = observed.change.breakers
    assert change.after == replace(
        CLOSED, failure_count=1, failure_orgs=("acme",), failure_time=NOW
    )
    assert change.is_announced
    assert not change.is_transition
    assert observed.stale == (False,)


def test_a_healthy_provider_s_success_writes_nothing_within_a_second() -> None:
    healthy = replace(CLOSED, success_time=NOW - SECOND / 2, version=1)

    assert observe(situation(healthy), observation(Signal.SUCCEEDED)).change.is_empty


@pytest.mark.parametrize("outcome", [Signal.SUCCEEDED, Signal.FAILED])
def test_the_time_of_the_last_outcome_is_written_once_a_second(outcome: Signal) -> None:
    old, young = NOW - SECOND, NOW - 0.9 * SECOND
    known = replace(CLOSED, version=1)

    due = observe(
        situation(replace(known, success_time=old, failure_time=old)), observation(outcome)
    ).change
    fresh = observe(
        situation(replace(known, success_time=young, failure_time=young)), observation(outcome)
    ).change

    written = after(situation(known), due)
    kept = after(situation(replace(known, success_time=young, failure_time=young)), fresh)
    assert {written.success_time, written.failure_time} == {old, NOW}
    assert (written.success_time == NOW) == (outcome is Signal.SUCCEEDED)
    assert (kept.success_time, kept.failure_time) == (young, young)
    assert not any(each.is_announced for each in due.breakers)


def test_a_neutral_outcome_neither_counts_nor_ends_a_row_of_failures() -> None:
    shaky = replace(CLOSED, failure_count=4)

    observed = observe(situation(shaky), observation(Signal.NEUTRAL))

    assert observed == Observed(change=UNCHANGED, stale=(False,))


def test_outcomes_after_the_one_that_opened_are_stale() -> None:
    observed = observe(situation(), *failures(7))

    assert observed.stale == (False,) * 5 + (True,) * 2
    [change] = observed.change.breakers
    assert change.after.epoch == change.after.last_epoch == 1
    assert change.after.failure_count == 5
    assert change.is_transition


@pytest.mark.parametrize("epoch", [0, 1, 3])
@pytest.mark.parametrize("outcome", [Signal.SUCCEEDED, Signal.FAILED])
def test_a_probe_of_another_epoch_changes_nothing_but_its_permit(
    epoch: int, outcome: Signal
) -> None:
    before = situation(HALF_OPEN, permits=(permit(1),))

    observed = observe(before, observation(outcome, epoch=epoch))

    assert observed.change == Change(provider=PROVIDER, released=(call(1),))
    assert observed.stale == (True,)


@pytest.mark.parametrize("outcome", [Signal.SUCCEEDED, Signal.FAILED])
def test_an_open_breaker_hears_no_outcomes(outcome: Signal) -> None:
    observed = observe(situation(OPEN), observation(outcome, epoch=1))

    assert observed.change.is_empty
    assert observed.stale == (True,)


@pytest.mark.parametrize(
    "permits",
    [(), (permit(2),), (permit(1, seconds=0),), (permit(1, epoch=0),)],
    ids=["none", "another call's", "expired", "of an older epoch"],
)
def test_a_half_open_breaker_hears_only_probes_with_a_valid_permit(
    permits: tuple[ProbePermit, ...],
) -> None:
    before = situation(HALF_OPEN, permits=permits)

    observed = observe(before, observation(Signal.FAILED, epoch=2))

    assert observed.change.breakers == ()
    assert observed.stale == (True,)


def test_a_failed_probe_opens_again_and_gives_its_permit_back() -> None:
    before = situation(HALF_OPEN, permits=(permit(1), permit(2)))

    change = observe(before, observation(Signal.FAILED, epoch=2)).change

    assert after(before, change).state is BreakerState.OPEN
    assert after(before, change).epoch == 3
    assert change.released == (call(1),)


def test_an_aborted_probe_gives_its_permit_back_and_says_nothing() -> None:
    before = situation(HALF_OPEN, permits=(permit(1),))

    observed = observe(before, observation(Signal.NEUTRAL, epoch=2))

    assert observed.change.breakers == ()
    assert observed.change.released == (call(1),)
    assert observed.stale == (False,)


def test_one_permit_says_one_thing() -> None:
    before = situation(HALF_OPEN, permits=(permit(1),))
    twice = [observation(Signal.SUCCEEDED, epoch=2)] * 2

    observed = observe(before, *twice)

    assert observed.stale == (False, True)
    assert after(before, observed.change).probe_success_count == 1


def test_closed_lets_all_go_and_needs_no_permits() -> None:
    acquired = acquire(situation(), *(wish(number) for number in range(9)))

    assert acquired.granted == (True,) * 9
    assert acquired.change.is_empty


def test_open_lets_none_go_before_its_time() -> None:
    acquired = acquire(situation(OPEN, now=NOW), wish(1), wish(2))

    assert acquired.granted == (False, False)
    assert acquired.change.is_empty


def test_at_its_time_an_open_breaker_becomes_half_open_and_lets_the_first_probe() -> None:
    ready = situation(OPEN, now=NOW + SECOND)

    acquired = acquire(ready, wish(1), wish(2), wish(3))

    assert acquired.granted == (True, True, False)
    assert after(ready, acquired.change).state is BreakerState.HALF_OPEN
    assert after(ready, acquired.change).epoch == acquired.epoch == 2
    assert acquired.change.added == tuple(
        ProbePermit(
            key=KEY, call=call(number), epoch=2, expire_time=NOW + SECOND + RULES.probe_duration
        )
        for number in (1, 2)
    )


def test_a_call_that_holds_a_permit_keeps_it_at_the_bound() -> None:
    lasting = RULES.probe_duration.total_seconds()
    permits = tuple(permit(number, seconds=int(lasting)) for number in (1, 2))
    full = situation(HALF_OPEN, permits=permits)

    acquired = acquire(full, wish(2), wish(3), wish(1))

    assert acquired.granted == (True, False, True)
    assert acquired.change.is_empty


def test_the_same_call_twice_in_a_batch_takes_one_place() -> None:
    acquired = acquire(situation(HALF_OPEN), wish(1), wish(1), wish(2), wish(3))

    assert acquired.granted == (True, True, True, False)
    assert [added.call for added in acquired.change.added] == [call(1), call(2)]


def test_probes_of_an_older_epoch_are_still_out_there_and_keep_their_places() -> None:
    before = situation(HALF_OPEN, permits=(permit(1, epoch=0), permit(2, epoch=0)))

    acquired = acquire(before, wish(3), wish(1), wish(4))

    assert acquired.granted == (False, True, False)
    assert [(added.call, added.epoch) for added in acquired.change.added] == [(call(1), 2)]


def test_an_expired_permit_frees_its_place() -> None:
    before = situation(HALF_OPEN, permits=(permit(1, seconds=0), permit(2)))

    assert acquire(before, wish(3), wish(4)).granted == (True, False)


def test_no_wishes_still_find_out_that_probes_may_begin() -> None:
    before = situation(OPEN, now=NOW + SECOND)

    ready = after(before, acquire(before).change)

    assert ready.state is BreakerState.HALF_OPEN
