"""What breakers leave of a route, and how calls come back to a provider that has recovered."""

from __future__ import annotations

import uuid

import pytest

from gateway.domain.fitness import (
    RAMP_SECONDS,
    Breaker,
    Breakers,
    BreakerState,
    Fit,
    Overall,
    PartKey,
    Survey,
    blocking,
    fit,
    overall,
    survey,
)
from tests.unit.gateway.calls import ANTHROPIC, CALL_ID, GOOGLE, OPENAI

NOW = 100.0
CLOSED = Breaker(state=BreakerState.CLOSED)
HALF_OPEN = Breaker(state=BreakerState.HALF_OPEN)
FORCED_OPEN = Breaker(state=BreakerState.OPEN, forced=True)
FORCED_CLOSED = Breaker(state=BreakerState.CLOSED, forced=True)
COOLING = Breaker(state=BreakerState.CLOSED, cool_time=NOW + 20)
JUST_CLOSED = Breaker(state=BreakerState.CLOSED, close_time=NOW - RAMP_SECONDS / 2)


def opened(probe_time: float | None) -> Breaker:
    return Breaker(state=BreakerState.OPEN, probe_time=probe_time)


def look(
    *candidates: object, now: float = NOW, call_id: str = CALL_ID, **unfit: Breaker
) -> Survey:
    keyed = {(provider, "", ""): breaker for provider, breaker in unfit.items()}
    return survey(candidates, keyed, credential="acme", call_id=call_id, now=now)  # type: ignore[arg-type]  # they are


@pytest.mark.parametrize(
    ("breaker", "expected"),
    [
        (None, Fit.PASS),
        (CLOSED, Fit.PASS),
        (HALF_OPEN, Fit.PROBE),
        (opened(None), Fit.PROBE),
        (opened(NOW), Fit.PROBE),
        (opened(NOW + 0.5), Fit.REFUSE),
        (FORCED_OPEN, Fit.REFUSE),
        (FORCED_CLOSED, Fit.PASS),
        (COOLING, Fit.REFUSE),
        (Breaker(state=BreakerState.CLOSED, cool_time=NOW), Fit.PASS),
        (JUST_CLOSED, Fit.PASS),
    ],
)
def test_a_breaker_passes_probes_or_refuses(breaker: Breaker | None, expected: Fit) -> None:
    assert fit(breaker, now=NOW) is expected


def test_candidates_behind_open_breakers_are_dropped() -> None:
    found = look(OPENAI, GOOGLE, ANTHROPIC, openai=opened(160.0))

    assert found.fit == (GOOGLE, ANTHROPIC)
    assert found.probes == ()


@pytest.mark.parametrize(
    "key",
    [
        ("openai", "", ""),
        ("openai", OPENAI.model, ""),
        ("openai", "", "acme"),
    ],
)
def test_every_breaker_on_the_way_counts(key: PartKey) -> None:
    others = {("openai", "gpt-5", ""): HALF_OPEN, ("openai", "", "globex"): HALF_OPEN}
    for unfit, passing in ((others, (OPENAI, GOOGLE)), ({key: COOLING}, (GOOGLE,))):
        found = survey((OPENAI, GOOGLE), unfit, credential="acme", call_id=CALL_ID, now=NOW)
        assert found.fit == passing


def test_only_candidates_before_the_first_fit_one_are_worth_a_probe() -> None:
    found = look(OPENAI, GOOGLE, ANTHROPIC, openai=HALF_OPEN, anthropic=HALF_OPEN)

    assert found.fit == (GOOGLE,)
    assert found.probes == (OPENAI,)


def test_the_delay_is_until_the_first_candidate_takes_calls_or_probes() -> None:
    late, soon = opened(160.0), opened(130.0)

    assert look(OPENAI, GOOGLE, openai=late, google=soon).retry_delay == 30.0
    assert look(OPENAI, ANTHROPIC, openai=late).retry_delay == 60.0
    # Somebody may probe now, so nobody has to wait.
    assert look(OPENAI, GOOGLE, now=140.0, openai=late, google=soon).retry_delay is None
    assert look(OPENAI, openai=COOLING).retry_delay == 20.0


def test_the_delay_of_a_way_is_that_of_its_last_breaker_and_a_person_s_is_unknown() -> None:
    cooling = {("openai", "", "acme"): COOLING, ("openai", "", ""): opened(160.0)}
    for unfit, expected in (
        (cooling, 60.0),
        ({**cooling, ("openai", OPENAI.model, ""): FORCED_OPEN}, None),
        ({**cooling, ("openai", OPENAI.model, ""): HALF_OPEN}, 60.0),
    ):
        found = survey((OPENAI,), unfit, credential="acme", call_id=CALL_ID, now=NOW)
        assert found.retry_delay == expected


def test_a_provider_that_has_just_come_back_gets_a_growing_share() -> None:
    ids = [str(uuid.UUID(int=number)) for number in range(2_000)]
    shares = []
    for passed in (0.0, 0.25, 0.5, 0.75, 1.0):
        since = NOW - passed * RAMP_SECONDS
        breaker = Breaker(state=BreakerState.CLOSED, close_time=since)
        first = [look(OPENAI, GOOGLE, call_id=each, openai=breaker).fit[0] for each in ids]
        shares.append(first.count(OPENAI) / len(ids))

    assert shares == [pytest.approx(each, abs=0.05) for each in (0.0, 0.25, 0.5, 0.75, 1.0)]


def test_a_provider_that_has_just_come_back_serves_whoever_has_no_other() -> None:
    since = Breaker(state=BreakerState.CLOSED, close_time=NOW)

    assert look(OPENAI, openai=since).fit == (OPENAI,)
    assert look(OPENAI, GOOGLE, openai=since).fit == (GOOGLE, OPENAI)


def test_only_what_stands_in_the_way_is_named() -> None:
    unfit = {
        ("openai", "", ""): JUST_CLOSED,
        ("openai", "", "acme"): COOLING,
        ("openai", "", "globex"): HALF_OPEN,
    }

    assert blocking(OPENAI, unfit, credential="acme", now=NOW) == [("openai", "", "acme")]


def test_what_time_made_fit_is_forgotten() -> None:
    breakers = Breakers()
    breakers.forget_plain(NOW)
    breakers.put(("openai", "", ""), COOLING, NOW)
    breakers.put(("google", "", ""), HALF_OPEN, NOW)
    breakers.put(("anthropic", "", ""), CLOSED, NOW)
    breakers.forget_plain(NOW + 20)

    assert breakers.unfit == {("google", "", ""): HALF_OPEN}
    breakers.put(("google", "", ""), CLOSED, NOW)
    assert breakers.unfit == {}


def test_stopped_beats_degraded_beats_healthy() -> None:
    closed, half_open = BreakerState.CLOSED, BreakerState.HALF_OPEN

    assert overall([closed], stopped=False) is Overall.HEALTHY
    assert overall([closed, half_open], stopped=False) is Overall.DEGRADED
    assert overall([half_open], stopped=True) is Overall.STOPPED
