"""The classification table: what the end of a call says."""

from __future__ import annotations

import pytest

from services.health.domain.signals import (
    Classification,
    Outcome,
    Signal,
    parse_classification,
)

TABLE = Classification()


@pytest.mark.parametrize(
    ("outcome", "error_type", "signal"),
    [
        (Outcome.SUCCEEDED, "", Signal.SUCCEEDED),
        (Outcome.PROVIDER_FAILED, "500", Signal.FAILED),
        (Outcome.PROVIDER_FAILED, "529", Signal.FAILED),
        (Outcome.PROVIDER_FAILED, "APITimeoutError", Signal.FAILED),
        (Outcome.REJECTED, "400", Signal.NEUTRAL),
        (Outcome.REJECTED, "404", Signal.NEUTRAL),
        (Outcome.REJECTED, "422", Signal.NEUTRAL),
        (Outcome.REJECTED, "401", Signal.REFUSED),
        (Outcome.REJECTED, "402", Signal.REFUSED),
        (Outcome.REJECTED, "403", Signal.REFUSED),
        (Outcome.THROTTLED, "429", Signal.THROTTLED),
        (Outcome.THROTTLED, "insufficient_quota", Signal.REFUSED),
        (Outcome.ABORTED, "CancelledError", Signal.NEUTRAL),
        (Outcome.ABORTED, "401", Signal.NEUTRAL),
    ],
)
def test_the_built_in_table(outcome: Outcome, error_type: str, signal: Signal) -> None:
    assert TABLE.classify("openai", outcome, error_type) is signal


def test_rows_of_a_provider_come_before_those_of_all_and_both_before_the_built_in() -> None:
    table = parse_classification("azure:404=failed,*:404=throttled,*:401=neutral")

    assert table.classify("azure", Outcome.REJECTED, "404") is Signal.FAILED
    assert table.classify("openai", Outcome.REJECTED, "404") is Signal.THROTTLED
    assert table.classify("openai", Outcome.REJECTED, "401") is Signal.NEUTRAL
    assert table.classify("openai", Outcome.REJECTED, "403") is Signal.REFUSED


def test_no_row_makes_a_failure_of_a_success_or_of_a_caller_that_left() -> None:
    table = parse_classification("*:odd=failed")

    assert table.classify("openai", Outcome.SUCCEEDED, "odd") is Signal.SUCCEEDED
    assert table.classify("openai", Outcome.ABORTED, "odd") is Signal.NEUTRAL


def test_an_empty_setting_is_the_built_in_table() -> None:
    assert parse_classification("") == Classification()


@pytest.mark.parametrize(
    "text",
    ["azure", "azure:404", "azure:404=", "azure:404=broken", "azure:404=succeeded", "A B:1=failed"]
    + ["azure:404=failed,azure:404=neutral", "azure:4 4=failed", ":404=failed"],
)
def test_a_wrong_row_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"row \d"):
        parse_classification(text)
