"""The catalogue promises what is written, and nothing else is written."""

from __future__ import annotations

import json
import re

import pytest

from services.accounting.domain.event_catalogue import CATALOGUE
from services.accounting.domain.event_types import EventType, Severity
from services.accounting.domain.events import Event, is_covered

EACH = pytest.mark.parametrize("kind", CATALOGUE.values(), ids=CATALOGUE)


@EACH
def test_every_type_has_an_example_with_exactly_its_facts(kind: EventType) -> None:
    event = Event(type=kind.name, org="acme", subject="s", title="t", data=kind.example)

    assert event.version == kind.version >= 1
    assert event.weight is kind.severity
    assert json.loads(json.dumps(kind.example)) == kind.example


@EACH
def test_names_are_words_with_dots_and_facts_name_their_unit(kind: EventType) -> None:
    assert re.fullmatch(r"[a-z]+(\.[a-z]+)+", kind.name)
    assert kind.meaning.endswith(".")
    for name in kind.facts:
        assert re.fullmatch(r"[a-z][a-z_]*", name)


@pytest.mark.parametrize("data", [{}, {"kill_id": "platform", "more": 1}, {"other": "x"}])
def test_an_event_with_other_facts_than_promised_is_not_written(data: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="other facts"):
        Event(type="kill.lifted", org="", subject="kill/platform", title="t", data=data)


def test_an_event_of_an_unknown_type_is_not_written() -> None:
    with pytest.raises(ValueError, match="no such type"):
        Event(type="kill.dreamt", org="", subject="s", title="t")


def test_an_event_may_matter_more_than_its_type() -> None:
    event = Event(
        type="kill.lifted",
        org="",
        subject="kill/platform",
        title="t",
        data={"kill_id": "platform"},
        severity=Severity.CRITICAL,
    )

    assert event.weight is Severity.CRITICAL


@pytest.mark.parametrize(
    ("pattern", "covered"),
    [
        ("", True),
        ("cost", True),
        ("cost.budget", True),
        ("cost.budget.warning", True),
        ("cos", False),
        ("cost.budget.warn", False),
        ("cost.budget.warning.more", False),
        ("breaker", False),
    ],
)
def test_a_pattern_covers_a_type_or_its_beginning_up_to_a_dot(pattern: str, covered: bool) -> None:
    assert is_covered("cost.budget.warning", pattern) is covered
