"""What is shown instead of an answer."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from chassis.errors import NotFound, PeerUnavailable
from gateway.domain.orgs import Org
from gateway.domain.templates import Template
from gateway.fallbacks import METADATA, METADATA_BYTES_MAX, Fallbacks
from gateway.routes import Routes
from headgate.api.common.v1 import denial_pb2
from tests.unit.gateway.calls import ROUTE, make_call

NAMED = replace(ROUTE, fallback_template="sorry")
SORRY = Template(
    template_id="sorry",
    default_locale="en",
    is_html=False,
    texts={
        "en": "Sorry {{ name | default('you') }}: {{ reason }} of {{ operation }}."
        "{% if retry_seconds %} Again in {{ retry_seconds }} s.{% endif %}",
        "de": "Leider {{ message }}",
        "xx": "{% for x in y %}{% endfor %}",
        "yy": "{{ name }}",
    },
)


class KnownTemplates:
    """As much of the copy of the routes as texts need."""

    def find_org(self, org: str) -> Org | None:
        return Org(org="acme", owner="Ada", contacts=("#acme",)) if org == "acme" else None

    def find_template(self, template_id: str) -> Template | None:
        return SORRY if template_id == "sorry" else None


@pytest.fixture
def fallbacks() -> Fallbacks:
    return Fallbacks(cast(Routes, KnownTemplates()))


def make_denial(*, nanos: int = 0) -> denial_pb2.Denial:
    denial = denial_pb2.Denial(
        reason=denial_pb2.DENIAL_REASON_BUDGET_EXCEEDED, message="no budget left"
    )
    if nanos:
        denial.retry_delay.FromNanoseconds(nanos)
    return denial


def test_a_route_without_a_template_shows_its_own_text(fallbacks: Fallbacks) -> None:
    denial = make_denial()
    fallbacks.complete(denial, make_call(), ROUTE)
    gone = fallbacks.find(make_call(), replace(ROUTE, fallback_template="gone"), reason="failed")

    assert (denial.fallback_text, denial.plain_fallback_text) == (ROUTE.fallback_text, "")
    assert gone.text == ROUTE.fallback_text


def test_a_template_speaks_the_callers_language_with_its_variables(fallbacks: Fallbacks) -> None:
    denial, german = make_denial(nanos=59_000_000_001), make_denial()
    fallbacks.complete(denial, make_call(variables={"name": "Ada", "reason": "?"}), NAMED)
    fallbacks.complete(german, make_call(locale="de-AT"), NAMED)

    assert denial.fallback_text == "Sorry Ada: budget_exceeded of summarize. Again in 60 s."
    # Nobody else is shown Ada's name.
    assert denial.plain_fallback_text == (
        "Sorry you: budget_exceeded of summarize. Again in 60 s."
    )
    assert (german.fallback_text, german.plain_fallback_text) == ("Leider no budget left", "")


@pytest.mark.parametrize("locale", ["xx", "xx-YY"])
def test_a_text_that_cannot_be_rendered_leaves_the_routes_own(
    fallbacks: Fallbacks, locale: str
) -> None:
    found = fallbacks.find(
        make_call(locale=locale, variables={"name": "Ada"}), NAMED, reason="failed"
    )

    assert (found.text, found.plain_text) == (ROUTE.fallback_text, ROUTE.fallback_text)


def test_an_error_of_whoever_is_away_carries_the_text(fallbacks: Fallbacks) -> None:
    away = PeerUnavailable("admission")
    told = fallbacks.attach(away, make_call(), NAMED)
    long = fallbacks.attach(
        away, make_call(locale="yy", variables={"name": "ä" * 2_000}), NAMED
    ).metadata[METADATA]
    none = fallbacks.attach(away, make_call(), replace(ROUTE, fallback_text=""))

    assert told.metadata == {
        "peer": "admission",
        METADATA: "Sorry you: unavailable of summarize.",
    }
    assert (told.code, told.reason, told.retry_delay_seconds) == (
        away.code,
        away.reason,
        away.retry_delay_seconds,
    )
    assert METADATA not in away.metadata
    assert len(long.encode()) == METADATA_BYTES_MAX
    assert METADATA not in none.metadata


def test_an_error_of_the_callers_own_says_nothing_more(fallbacks: Fallbacks) -> None:
    wrong = NotFound("org", "acme")

    assert fallbacks.attach(wrong, make_call(), NAMED) is wrong
