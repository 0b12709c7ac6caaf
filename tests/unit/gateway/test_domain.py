"""Books and fingerprints: pure rules over plain values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.books import PriceBook
from gateway.domain.calls import Candidate
from gateway.domain.estimates import Rate, ceiling
from gateway.domain.fingerprints import fingerprint
from tests.unit.gateway.calls import ANTHROPIC, GOOGLE, OPENAI, OTHER_ID, make_call

CHEAP = ceiling(input_rates=[Rate(nanos_per_million=1)], output_rates=[])
DEAR = ceiling(input_rates=[Rate(nanos_per_million=9)], output_rates=[])


def test_an_org_pays_its_own_price_before_the_platforms() -> None:
    model = (OPENAI.provider, OPENAI.model)
    book = PriceBook(version=7, platform={model: CHEAP}, overrides={"acme": {model: DEAR}})

    assert book.find("acme", OPENAI, "chat") is DEAR
    assert book.find("globex", OPENAI, "chat") is CHEAP
    assert book.find("acme", ANTHROPIC, "chat") is None


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
        {"credential": "acme/eu"},
        {"unit_bounds": {"image_count": 2}},
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


def test_bounds_of_units_are_no_labels_and_count_as_a_set() -> None:
    told = make_call(unit_bounds={"image_count": 2, "audio_ms": 3}, labels={"a": "1"})
    same = make_call(unit_bounds={"audio_ms": 3, "image_count": 2}, labels={"a": "1"})
    other = make_call(unit_bounds={"image_count": 2}, labels={"a": "1", "audio_ms": "3"})

    assert fingerprint(told) == fingerprint(same)
    assert fingerprint(told) != fingerprint(other)
    assert fingerprint(told) != fingerprint(make_call(labels={"a": "1"}))
