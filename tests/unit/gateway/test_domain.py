"""Books, fingerprints and fitness: pure rules over plain values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.books import PriceBook
from gateway.domain.calls import Candidate
from gateway.domain.estimates import Rate, ceiling
from gateway.domain.fingerprints import fingerprint
from gateway.domain.fitness import Breaker, BreakerState, Fit, Overall, fit, overall, survey
from tests.unit.gateway.calls import ANTHROPIC, GOOGLE, OPENAI, OTHER_ID, make_call

CHEAP = ceiling(input_rates=[Rate(nanos_per_million=1)], output_rates=[])
DEAR = ceiling(input_rates=[Rate(nanos_per_million=9)], output_rates=[])
CLOSED = Breaker(state=BreakerState.CLOSED, epoch=1)
HALF_OPEN = Breaker(state=BreakerState.HALF_OPEN, epoch=3)


def opened(probe_time: float | None) -> Breaker:
    return Breaker(state=BreakerState.OPEN, epoch=2, probe_time=probe_time)


def test_an_org_pays_its_own_price_before_the_platforms() -> None:
    model = (OPENAI.provider, OPENAI.model)
    book = PriceBook(version=7, platform={model: CHEAP}, overrides={"acme": {model: DEAR}})

    assert book.find("acme", OPENAI) is DEAR
    assert book.find("globex", OPENAI) is CHEAP
    assert book.find("acme", ANTHROPIC) is None


@pytest.mark.parametrize(
    "change",
    [
        {"org": "globex"},
        {"call_id": OTHER_ID},
        {"operation": "chat"},
        {"parent_call_id": OTHER_ID},
        {"input_token_count": 901},
        {"input_byte_count": 1},
        {"max_output_token_count": None},
        {"max_output_token_count": 0},
        {"excluded_candidates": (OPENAI,)},
        {"labels": {"ticket": "T-1"}},
    ],
    ids=lambda change: str(next(iter(change.items()))),
)
def test_every_word_of_the_caller_counts(change: dict[str, Any]) -> None:
    assert fingerprint(make_call(**change)) != fingerprint(make_call())


def test_what_is_ours_or_has_no_order_does_not_count() -> None:
    call = make_call(excluded_candidates=(OPENAI, GOOGLE), labels={"a": "1", "b": "2"})
    same = make_call(
        api_key_id="k_other",
        excluded_candidates=(GOOGLE, OPENAI, GOOGLE),
        labels={"b": "2", "a": "1"},
    )

    assert fingerprint(same) == fingerprint(call)


def test_a_label_is_no_excluded_candidate() -> None:
    excluded = make_call(excluded_candidates=(Candidate(provider="a", model="b"),))

    assert fingerprint(make_call(labels={"a": "b"})) != fingerprint(excluded)


names = st.text(alphabet="ab", max_size=3)


@given(
    one=st.dictionaries(names, names, max_size=3), other=st.dictionaries(names, names, max_size=3)
)
def test_only_equal_labels_have_one_fingerprint(
    one: dict[str, str], other: dict[str, str]
) -> None:
    same = fingerprint(make_call(labels=one)) == fingerprint(make_call(labels=other))

    assert same == (one == other)


@pytest.mark.parametrize(
    ("breaker", "expected"),
    [
        (None, Fit.PASS),
        (CLOSED, Fit.PASS),
        (HALF_OPEN, Fit.PROBE),
        (opened(None), Fit.PROBE),
        (opened(100.0), Fit.PROBE),
        (opened(100.5), Fit.REFUSE),
    ],
)
def test_a_breaker_passes_probes_or_refuses(breaker: Breaker | None, expected: Fit) -> None:
    assert fit(breaker, now=100.0) is expected


def test_candidates_behind_open_breakers_are_dropped() -> None:
    breakers = {"openai": opened(160.0), "google": CLOSED}

    found = survey((OPENAI, GOOGLE, ANTHROPIC), breakers, now=100.0)

    assert found.fit == (GOOGLE, ANTHROPIC)
    assert found.probes == ()


def test_only_candidates_before_the_first_fit_one_are_worth_a_probe() -> None:
    breakers = {"openai": HALF_OPEN, "google": CLOSED, "anthropic": HALF_OPEN}

    found = survey((OPENAI, GOOGLE, ANTHROPIC), breakers, now=100.0)

    assert found.fit == (GOOGLE,)
    assert found.probes == (OPENAI,)


def test_the_delay_is_until_the_first_breaker_takes_probes() -> None:
    breakers = {"openai": opened(160.0), "google": opened(130.0)}

    assert survey((OPENAI, GOOGLE), breakers, now=100.0).retry_delay == 30.0
    # Somebody may probe now, so nobody has to wait.
    assert survey((OPENAI, ANTHROPIC), breakers, now=100.0).retry_delay == 60.0
    assert survey((OPENAI, GOOGLE), breakers, now=140.0).retry_delay is None


def test_stopped_beats_degraded_beats_healthy() -> None:
    assert overall([CLOSED], stopped=False) is Overall.HEALTHY
    assert overall([CLOSED, HALF_OPEN], stopped=False) is Overall.DEGRADED
    assert overall([HALF_OPEN], stopped=True) is Overall.STOPPED
