"""Breakers of a provider, its models and its credentials, decided together."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from services.health.domain import decisions
from services.health.domain.breakers import (
    Breaker,
    BreakerState,
    Cause,
    Forced,
    Key,
    Observation,
    Situation,
    Way,
)
from services.health.domain.signals import Signal
from tests.unit.health.values import (
    CREDENTIAL,
    FULL,
    KEY,
    MODEL,
    NOW,
    RULES,
    SECOND,
    after,
    applied,
    call,
    failures,
    observation,
    situation,
    wish,
)

FAILED, SUCCEEDED = Signal.FAILED, Signal.SUCCEEDED
OF_GLOBEX = Way(provider="openai", model="gpt-4o", credential="globex")


def observe(before: Situation, *observations: Observation) -> Situation:
    change = decisions.observe(before, observations, rules=RULES).change
    return applied(before, change)


def states(found: Situation) -> dict[str, str]:
    return {
        key.model or key.credential or "provider": breaker.state.value
        for key, breaker in found.breakers.items()
    }


def open_breaker(key: Key, *, epoch: int = 1, until: dt.timedelta = SECOND) -> Breaker:
    return Breaker(
        key=key,
        state=BreakerState.OPEN,
        epoch=epoch,
        last_epoch=epoch if key.is_provider else 0,
        open_until=NOW + until,
        change_time=NOW,
        open_count=1,
    )


def of_acme(signal: Signal, count: int, *, epoch: int = 0) -> list[Observation]:
    return [
        observation(signal, number=2 * number + 1, way=FULL, epoch=epoch)
        for number in range(count)
    ]


def test_five_failures_of_one_org_open_its_credential_and_nothing_for_others() -> None:
    found = observe(situation(), *of_acme(FAILED, 9))

    assert states(found) == {"provider": "closed", "gpt-4o": "closed", "acme": "open"}


def test_five_failures_of_two_orgs_open_the_provider_and_the_model() -> None:
    found = observe(
        situation(), *failures(5, way=Way(provider="openai", model="gpt-4o", credential=""))
    )

    assert states(found) == {"provider": "open", "gpt-4o": "open", "acme": "closed"}
    assert found.breakers[KEY].last_epoch == 2
    assert {found.breakers[KEY].epoch, found.breakers[MODEL].epoch} == {1, 2}


def test_a_refused_credential_counts_on_its_own_breaker_and_is_told_at_once() -> None:
    observed = decisions.observe(situation(), of_acme(Signal.REFUSED, 1), rules=RULES)

    [change] = observed.change.breakers
    assert (change.after.key, change.after.failure_count) == (CREDENTIAL, 1)
    assert change.cause is Cause.CREDENTIAL_REFUSED
    assert not change.is_transition
    assert states(observe(situation(), *of_acme(Signal.REFUSED, 5)))["acme"] == "open"
    assert states(observe(situation(), *of_acme(Signal.REFUSED, 5)))["provider"] == "closed"


def test_only_the_first_refusal_in_a_row_is_told() -> None:
    once = observe(situation(), *of_acme(Signal.REFUSED, 1))

    [change] = decisions.observe(once, of_acme(Signal.REFUSED, 1), rules=RULES).change.breakers

    assert change.cause is None


def test_a_credential_is_refused_until_it_is_accepted_or_reset() -> None:
    failing = observe(situation(), *of_acme(FAILED, 1))
    refused = observe(failing, *of_acme(Signal.REFUSED, 1))
    accepted = observe(refused, *of_acme(SUCCEEDED, 1))
    note = decisions.force(refused, CREDENTIAL, Forced.NOT, rules=RULES)

    assert failing.breakers[CREDENTIAL].refuse_time is None
    assert refused.breakers[CREDENTIAL].refuse_time == NOW
    assert accepted.breakers[CREDENTIAL].refuse_time is None
    assert applied(refused, note).breakers[CREDENTIAL].refuse_time is None


def test_a_throttled_credential_cools_as_long_as_the_provider_asks() -> None:
    asked = replace(of_acme(Signal.THROTTLED, 1)[0], cool_duration=30 * SECOND)

    found = observe(situation(), asked)

    assert found.breakers[CREDENTIAL].cool_until == NOW + 30 * SECOND
    assert found.breakers[CREDENTIAL].failure_count == 0
    assert found.breakers[KEY] == Breaker(key=KEY)
    # A shorter wish later does not cut it.
    assert observe(found, *of_acme(Signal.THROTTLED, 1)) == found


def test_a_provider_that_does_not_say_gets_a_while_and_one_that_exaggerates_the_most() -> None:
    silent = observe(situation(), *of_acme(Signal.THROTTLED, 1))
    greedy = replace(of_acme(Signal.THROTTLED, 1)[0], cool_duration=dt.timedelta(hours=20))

    assert silent.breakers[CREDENTIAL].cool_until == NOW + RULES.cool_duration
    assert observe(situation(), greedy).breakers[CREDENTIAL].cool_until == (
        NOW + RULES.cool_duration_max
    )


def test_a_throttled_call_of_an_unknown_credential_says_nothing() -> None:
    observed = decisions.observe(situation(), [observation(Signal.THROTTLED)], rules=RULES)

    assert observed.change.is_empty
    assert observed.stale == (True,)


def test_a_success_writes_no_row_of_a_part() -> None:
    change = decisions.observe(situation(), of_acme(SUCCEEDED, 1), rules=RULES).change

    assert [each.after.key for each in change.breakers] == [KEY]


def test_a_success_ends_a_part_s_row_of_failures() -> None:
    found = observe(situation(), *of_acme(FAILED, 4), *of_acme(SUCCEEDED, 1))

    assert found.breakers[CREDENTIAL].failure_count == 0
    assert found.breakers[MODEL].failure_orgs == ()


def test_a_call_that_came_after_a_change_of_another_part_counts_where_nothing_changed() -> None:
    opened = observe(situation(), *of_acme(FAILED, 5))
    assert opened.breakers[KEY].last_epoch == 1

    before = observation(FAILED, number=2, epoch=0, way=OF_GLOBEX)
    later = observation(FAILED, number=4, epoch=1, way=OF_GLOBEX)
    known = situation(*opened.breakers.values(), Breaker(key=OF_GLOBEX.keys[-1]))
    for each in (before, later):
        stale = decisions.observe(known, [each], rules=RULES).stale
        assert stale == (False,), "the provider did not change since it was admitted"


def test_an_epoch_from_the_future_is_stale() -> None:
    stale = decisions.observe(situation(), [observation(FAILED, epoch=1)], rules=RULES).stale

    assert stale == (True,)


def test_a_call_needs_the_leave_of_every_breaker_on_its_way() -> None:
    found = situation(open_breaker(CREDENTIAL), Breaker(key=KEY, last_epoch=1))

    acquired = decisions.acquire(found, [wish(1, way=FULL), wish(2)], rules=RULES)

    assert acquired.granted == (False, True)


def test_a_probe_takes_a_place_of_each_half_open_breaker_or_of_none() -> None:
    ready = situation(
        open_breaker(KEY, epoch=2), open_breaker(CREDENTIAL, epoch=1), now=NOW + SECOND
    )
    other = situation(*ready.breakers.values(), Breaker(key=OF_GLOBEX.keys[-1]), now=ready.now)
    wishes = [wish(1, way=FULL), wish(2, way=OF_GLOBEX), wish(3, way=FULL)]

    acquired = decisions.acquire(other, wishes, rules=RULES)
    found = applied(other, acquired.change)

    assert acquired.granted == (True, True, False)
    assert acquired.epoch == 4
    held = {(permit.key, permit.call) for permit in found.permits}
    assert held == {(KEY, call(1)), (CREDENTIAL, call(1)), (KEY, call(2))}
    # Its end frees both places.
    ended = observe(found, observation(Signal.NEUTRAL, number=1, epoch=4, way=FULL))
    assert {permit.call for permit in ended.permits} == {call(2)}


def test_a_permit_lives_as_long_as_its_call_s_hold() -> None:
    half_open = Breaker(key=KEY, state=BreakerState.HALF_OPEN, epoch=2, last_epoch=2)
    short, long = (replace(wish(1), lease=seconds * SECOND) for seconds in (30, 90))

    first = applied(
        situation(half_open),
        decisions.acquire(situation(half_open), [short], rules=RULES).change,
    )
    extended = applied(first, decisions.acquire(first, [long], rules=RULES).change)

    assert [permit.expire_time for permit in first.permits] == [NOW + 30 * SECOND]
    assert [permit.expire_time for permit in extended.permits] == [NOW + 90 * SECOND]
    assert decisions.acquire(extended, [short], rules=RULES).change.is_empty


@pytest.mark.parametrize(
    ("ago", "seconds"), [(0, 240), (599, 240), (600, 60)], ids=["now", "soon", "after a calm"]
)
def test_openings_that_follow_each_other_last_longer(ago: int, seconds: int) -> None:
    closed = Breaker(key=CREDENTIAL, open_count=2, epoch=5, change_time=NOW - ago * SECOND)
    known = situation(closed, Breaker(key=KEY, last_epoch=5))

    found = observe(known, *of_acme(FAILED, 5, epoch=5))

    assert found.breakers[CREDENTIAL].open_until == NOW + seconds * SECOND


def test_an_opening_lasts_no_longer_than_the_longest_and_jitters_about_it() -> None:
    jittery = replace(RULES, jitter=0.1)
    durations = {
        jittery.open_duration_of(open_count=1000, seed=f"openai {epoch}") for epoch in range(100)
    }

    assert len(durations) == 100
    assert min(durations) >= 0.9 * RULES.open_duration_max
    assert max(durations) <= 1.1 * RULES.open_duration_max
    assert RULES.open_duration_of(open_count=0, seed="") == RULES.open_duration


def test_forcing_begins_an_epoch_and_holds_until_it_is_given_back() -> None:
    opened = applied(situation(), decisions.force(situation(), KEY, Forced.OPEN, rules=RULES))
    held = after(opened, decisions.force(opened, KEY, Forced.CLOSED, rules=RULES))
    reset_change = decisions.force(opened, KEY, Forced.NOT, rules=RULES)
    reset = after(opened, reset_change)

    breaker = opened.breakers[KEY]
    assert (breaker.state, breaker.epoch, breaker.open_until) == (BreakerState.OPEN, 1, None)
    assert decisions.acquire(opened, [wish(1)], rules=RULES).granted == (False,)
    assert decisions.force(opened, KEY, Forced.OPEN, rules=RULES).is_empty
    assert (held.state, held.forced, held.epoch) == (BreakerState.CLOSED, Forced.CLOSED, 2)
    assert (reset.state, reset.forced, reset.epoch) == (BreakerState.CLOSED, Forced.NOT, 2)
    assert [each.cause for each in reset_change.breakers] == [Cause.RESET]


def test_a_reset_forgets_failures_and_cooling_too() -> None:
    tired = Breaker(
        key=CREDENTIAL,
        failure_count=4,
        failure_orgs=("acme",),
        cool_until=NOW + SECOND,
        open_count=3,
    )

    reset = after(
        situation(tired),
        decisions.force(situation(tired), CREDENTIAL, Forced.NOT, rules=RULES),
        CREDENTIAL,
    )

    assert (reset.failure_count, reset.cool_until, reset.open_count) == (0, None, 0)
    assert reset.epoch == 1


def test_rates_open_what_is_closed_and_nobody_holds() -> None:
    causes = {KEY: Cause.FAILURE_RATE}
    held = Breaker(key=KEY, forced=Forced.CLOSED)

    opened = after(situation(), decisions.trip(situation(), causes, rules=RULES))

    assert (opened.state, opened.open_until) == (BreakerState.OPEN, NOW + RULES.open_duration)
    assert decisions.trip(situation(held), causes, rules=RULES).is_empty
    assert decisions.trip(situation(open_breaker(KEY)), causes, rules=RULES).is_empty


def test_names_for_people() -> None:
    assert [key.text for key in (KEY, MODEL, CREDENTIAL)] == [
        "openai",
        "openai model gpt-4o",
        "openai credential acme",
    ]
    assert {wish(1).provider, observation(FAILED).provider} == {"openai"}
