"""What a report says, and what makes two reports the same."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import replace

import pytest

from services.accounting.domain.meters import NO_METERS, MeterCounts
from services.accounting.domain.usage import DIGEST_SIZE, Outcome
from tests.integration.accounting.samples import report


def test_a_zero_meter_is_reported_and_a_missing_one_is_not() -> None:
    assert MeterCounts(reasoning=0).reported
    assert not NO_METERS.reported


def test_input_of_all_kinds_counts_towards_a_tier() -> None:
    assert MeterCounts(1, 2, 4, None, 100, 100).input_total == 7
    assert MeterCounts(1, output=100, audio_input=8, image_cache_read=16).input_total == 25


def test_tokens_of_all_kinds_are_a_total_and_what_is_no_token_is_not_in_it() -> None:
    assert MeterCounts(1, 2, output=4, image_output=8, web_search=100).token_total == 15
    assert MeterCounts(output=0).token_total == 0
    assert MeterCounts(audio_ms=5).token_total is None


def test_a_report_without_the_rarer_meters_has_the_digest_that_it_always_had() -> None:
    call_id = uuid.UUID(int=1)
    once = report(call_id=call_id, admit_time=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))

    # The beginning of it: logs of before were rewritten with as much.
    assert once.digest().hex() == "95e4722903424a0f"


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
        {"service_tier": "batch"},
        {"approved": True},
        {"unanswered": True},
        {"meters": MeterCounts(input=0, output=0, audio_ms=0)},
    ],
)
def test_another_payload_has_another_digest(change: dict[str, object]) -> None:
    first = report(meters=MeterCounts(input=0, output=0))
    second = replace(first, **change)  # type: ignore[arg-type]  # one field at a time

    assert len(first.digest()) == DIGEST_SIZE
    assert first.digest() != second.digest()


def test_what_only_the_permit_knows_is_not_part_of_the_digest() -> None:
    first = report()
    second = replace(
        first,
        labels={"a": "b"},
        api_key_id="k_1",
        parent_call_id=first.call_id,
        held_token_count=7,
        team="t",
        user="u",
        session="s",
        feature="f",
        priority=3,
        baseline=("openai", "gpt-4o"),
    )

    assert first.digest() == second.digest()
