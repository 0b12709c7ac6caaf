"""Which table answers a question about usage, and how sums are added."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from services.accounting.domain.summaries import (
    Dimension,
    Level,
    Source,
    UsageQuery,
    UsageSums,
    add_all,
    choose_level,
)

MIDNIGHT = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


def ask(**changes: Any) -> UsageQuery:
    fields = {"start": MIDNIGHT, "end": MIDNIGHT + dt.timedelta(days=31)}
    return UsageQuery(**(fields | changes))


def by(*dimensions: Dimension) -> dict[str, Any]:
    return {"group_by": frozenset(dimensions)}


LATER = {"end": MIDNIGHT + dt.timedelta(hours=5)}
HALF_PAST = {"start": MIDNIGHT + dt.timedelta(minutes=30)}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Level.PLATFORM_DAY),
        (by(Dimension.DAY), Level.PLATFORM_DAY),
        (by(Dimension.MONTH), Level.PLATFORM_DAY),
        (by(Dimension.ORG), Level.ORG_DAY),
        (by(Dimension.DAY, Dimension.MODEL), Level.ORG_DAY),
        ({"org": "acme"}, Level.ORG_DAY),
        ({"operation": "summarize"}, Level.ORG_DAY),
        (by(Dimension.HOUR), Level.ORG_HOUR),
        (LATER, Level.ORG_HOUR),
        ({"org": "acme", "model": "m"} | LATER, Level.ORG_HOUR),
        (HALF_PAST, None),
        (HALF_PAST | by(Dimension.HOUR), None),
        (by(Dimension.USER, Dimension.ORG, Dimension.DAY), Level.DIMENSION_DAY),
        ({"values": {"label.ticket": "T-1"}}, Level.DIMENSION_DAY),
        ({"values": {"user": "u"}} | by(Dimension.USER), Level.DIMENSION_DAY),
        ({"values": {"user": "u"}} | by(Dimension.TEAM), None),
        ({"values": {"user": "u", "team": "t"}}, None),
        ({"values": {"user": "u"}, "model": "m"}, None),
        ({"values": {"user": "u"}} | LATER, None),
        (by(Dimension.TEAM, Dimension.MODEL), None),
        (by(Dimension.API_KEY, Dimension.HOUR), None),
    ],
)
def test_the_smallest_rollup_that_can_answers(
    changes: dict[str, Any], expected: Level | None
) -> None:
    assert choose_level(ask(**changes)) is expected


def test_a_level_says_what_it_is() -> None:
    assert Level.ORG_HOUR.source is Source.HOURLY_ROLLUP
    assert {level.source for level in Level if level is not Level.ORG_HOUR} == {Source.ROLLUP}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (by(Dimension.ORG), ""),
        (by(Dimension.ORG, Dimension.API_KEY), "api_key"),
        (by(Dimension.LABEL) | {"label_key": "ticket"}, "label.ticket"),
    ],
)
def test_a_split_is_named_as_in_the_schema(changes: dict[str, Any], expected: str) -> None:
    assert ask(**changes).split == expected


def sums(number: int, **changes: Any) -> UsageSums:
    fields: dict[str, Any] = {
        "call_count": number,
        "failed_count": number,
        "unreported_count": number,
        "cost_nanos": number,
        "unreported_cost_nanos": number,
        "baseline_nanos": None,
        "latency_histogram": number,
        "meters": (number, None, None),
    }
    return UsageSums(**(fields | changes))


def test_sums_are_added_and_what_nobody_reported_stays_missing() -> None:
    few = {"baseline_nanos": 7, "saved_nanos": -5, "approved_count": 1}
    rows = [sums(1, org="a", approved_count=1), sums(2, org="b", meters=(2, 3, None), **few)]

    assert add_all(rows) == sums(3, meters=(3, 3, None), **(few | {"approved_count": 2}))
    assert add_all([]) is None
