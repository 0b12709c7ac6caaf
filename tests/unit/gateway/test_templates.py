"""What may stand in a template, and that rendering one ends soon and harmlessly."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain import templates
from gateway.domain.templates import (
    OUTPUT_LENGTH_MAX,
    BadTemplateError,
    Template,
    check,
    render,
    variables_of,
)

GREETING = (
    "Hello {{ name | default('there', true) | capitalize }}."
    "{% if retry_seconds is defined and retry_seconds != '0' %} Try in {{ retry_seconds }} s."
    "{% elif not reason %}{{ 'Later.' if other == name else '-' }}{% else %} Later.{% endif %}"
)


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({"name": "ada", "retry_seconds": "60"}, "Hello Ada. Try in 60 s."),
        ({"name": "", "retry_seconds": "0", "reason": "x"}, "Hello There. Later."),
        ({}, "Hello There.Later."),
    ],
)
def test_values_stand_in_a_text_and_missing_ones_leave_it_whole(
    values: dict[str, str], text: str
) -> None:
    check(GREETING)

    assert render(GREETING, values, is_html=False) == text


def test_long_values_can_be_cut() -> None:
    check("{{ name | truncate(8) }}")

    assert (
        render("{{ name | truncate(8) }}", {"name": "Ada Augusta King"}, is_html=False) == "Ada..."
    )


def test_variables_are_known_by_their_names() -> None:
    assert variables_of(GREETING) == ["name", "other", "reason", "retry_seconds"]


REFUSED = {
    "{% for each in names %}{% endfor %}": "a loop",
    "{{ ''.__class__ }}": "an attribute",
    "{{ name['__class__'] }}": "an item",
    "{{ name.upper() }}": "a call",
    "{{ range(10) }}": "a call",
    "{% macro m() %}{% endmacro %}": "a macro",
    "{% call m() %}{% endcall %}": "a call",
    "{% set name = 'x' %}": "an assignment",
    "{% set name %}x{% endset %}": "an assignment",
    "{% include 'x' %}": "another template",
    "{% import 'x' as y %}": "another template",
    "{% from 'x' import y %}": "another template",
    "{% extends 'x' %}": "another template",
    "{% block b %}{% endblock %}": "Block",
    "{% filter upper %}x{% endfilter %}": "FilterBlock",
    "{% with a = 'b' %}{% endwith %}": "With",
    "{{ 'x' * 1000000 }}": "Mul",
    "{{ 9 ** 9 ** 9 }}": "Pow",
    "{{ [name] }}": "List",
    "{{ name > other }}": "compares by",
    "{{ name in other }}": "compares by",
    "{{ self }}": "'self'",
    "{{ loop }}": "'loop'",
    "{{ _name }}": "'_name'",
    "{{ Name }}": "'Name'",
    "{{ name | title }}": "the filter 'title'",
    "{{ name | attr('x') }}": "the filter 'attr'",
    "{{ name | upper('x') }}": "takes no arguments",
    "{{ name | default }}": "'default' takes",
    "{{ name | default(value='x') }}": "by position",
    "{{ name | truncate }}": "'truncate' takes",
    "{{ name | truncate(3) }}": "'truncate' takes",
    "{{ name | truncate(length) }}": "'truncate' takes",
    "{{ name | truncate(5000) }}": "'truncate' takes",
    "{{ name is divisibleby(3) }}": "the test 'divisibleby'",
    "{{ name is defined(3) }}": "the test 'defined'",
    "{% if name %}": "line 1",
    "{{": "line 1",
    "one\n{{ two ! }}": "line 2",
    "{{ " + "(" * 2_000 + "a" + ")" * 2_000 + " }}": "nested",
    "{{ " + "not " * 500 + "a }}": "nested",
    "{% if a %}" * 100 + "{% endif %}" * 100: "nested",
    "{{ a }}" * 300: "more than",
    "{{ " + "9" * 4_300 + " }}{{ 1" + "0" * 4_400 + " }}": "number",
}


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_what_loops_or_reads_what_it_must_not_is_refused(text: str) -> None:
    with pytest.raises(BadTemplateError, match=REFUSED[text]) as refused:
        check(text)

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("text", REFUSED, ids=range(len(REFUSED)))
def test_and_is_harmless_if_it_was_stored_all_the_same(text: str) -> None:
    assert render(text, {"name": "Ada"}, is_html=False) is None


def test_values_are_escaped_in_html_and_only_there() -> None:
    values = {"name": "<b>&"}

    assert render("{{ name }} <i>", values, is_html=True) == "&lt;b&gt;&amp; <i>"
    assert render("{{ name }} <i>", values, is_html=False) == "<b>& <i>"
    assert render("& {{ name | e }}{{ name | escape }}{{ name }}", values, is_html=False) == (
        "& &lt;b&gt;&amp;&lt;b&gt;&amp;<b>&"
    )


def test_a_value_is_text_and_never_a_template() -> None:
    values = {"name": "{{ other }}{% for x in y %}"}

    assert render("{{ name }}", values, is_html=False) == "{{ other }}{% for x in y %}"


def test_the_dearest_text_is_cut_and_takes_moments() -> None:
    text = "{% if a %}{{ a | upper | e | lower | trim }}{% endif %}" * 30
    check(text)
    render(text, {}, is_html=True)
    before = time.process_time()

    rendered = render(text, {"a": "<ß" * 256}, is_html=True)

    assert rendered is not None
    assert (len(rendered), rendered[-1]) == (OUTPUT_LENGTH_MAX, "…")
    assert time.process_time() - before < 0.2


def test_what_fails_while_it_is_rendered_is_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(templates, "prepare", fail)

    assert render("{{ a }}", {}, is_html=False) is None


@given(st.text(st.sampled_from("{}%# abif|()'._-!=not\n"), max_size=60))
def test_any_text_is_rendered_or_refused(text: str) -> None:
    try:
        check(text)
    except BadTemplateError:
        assert render(text, {"a": "b"}, is_html=True) is None
    else:
        assert render(text, {"a": "b"}, is_html=True) is not None
        assert render(text, {}, is_html=False) is not None


def test_the_text_of_the_nearest_language_is_taken() -> None:
    template = Template(
        template_id="sorry", default_locale="en", is_html=False, texts={"en": "Sorry", "de": "Oh"}
    )

    assert template.render("de-AT", {}) == "Oh"
    assert template.render("fr", {}) == "Sorry"
