"""What a report says, and what makes two reports the same."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from services.accounting.domain.usage import (
    DIGEST_SIZE,
    NO_METERS,
    Dimension,
    MeterCounts,
    Outcome,
    Source,
    UsageQuery,
)
from tests.integration.accounting.samples import report


def test_a_zero_meter_is_reported_and_a_missing_one_is_not() -> None:
    assert MeterCounts(reasoning=0).reported
    assert not NO_METERS.reported


def test_input_of_all_kinds_counts_towards_a_tier() -> None:
    assert MeterCounts(1, 2, 4, None, 100, 100).input_total == 7


@pytest.mark.parametrize(
    "change",
    [
        {"operation": "other"},
        {"provider": "other"},
        {"model": "other"},
        {"price_version": 9},
        {"held_nanos": 9},
        {"outcome": Outcome.ABORTED},
        {"meters": MeterCounts(input=1)},
        {"meters": MeterCounts(input=0, output=None)},
        {"latency_ms": 9},
        {"error_type": "other"},
    ],
)
def test_another_payload_has_another_digest(change: dict[str, object]) -> None:
    first = report(meters=MeterCounts(input=0, output=0))
    second = replace(first, **change)  # type: ignore[arg-type]  # one field at a time

    assert len(first.digest()) == DIGEST_SIZE
    assert first.digest() != second.digest()


def test_what_only_the_permit_knows_is_not_part_of_the_digest() -> None:
    first = report()
    second = replace(first, labels={"a": "b"}, api_key_id="k_1", parent_call_id=first.call_id)

    assert first.digest() == second.digest()


@pytest.mark.parametrize(
    ("org", "group_by", "expected"),
    [
        ("", frozenset[Dimension](), True),
        ("", frozenset({Dimension.DAY}), True),
        ("", frozenset({Dimension.DAY, Dimension.MODEL}), False),
        ("acme", frozenset[Dimension](), False),
    ],
)
def test_the_platforms_rollup_answers_what_names_no_org(
    org: str, group_by: frozenset[Dimension], expected: bool
) -> None:
    day = dt.date(2026, 1, 1)
    query = UsageQuery(
        start_day=day, end_day=day, org=org, group_by=group_by, source=Source.ROLLUP
    )

    assert query.platform_only is expected
