"""The tier of service that an answer names."""

from __future__ import annotations

from typing import Any

import pytest

from headgate.usage.tiers import service_tier


@pytest.mark.parametrize(
    ("answer", "tier"),
    [
        ({"service_tier": "flex"}, "flex"),
        ({"service_tier": "default"}, ""),
        ({"usage": {"service_tier": "priority"}}, "priority"),
        ({"usage": {"service_tier": "standard", "speed": "fast"}}, "fast"),
        ({"type": "response.completed", "response": {"service_tier": "priority"}}, "priority"),
        ({"type": "message_start", "message": {"usage": {"service_tier": "batch"}}}, "batch"),
        ({"usageMetadata": {"trafficType": "ON_DEMAND_FLEX"}}, "flex"),
        ({"usageMetadata": {"trafficType": "ON_DEMAND"}}, ""),
    ],
)
def test_a_tier_is_found_where_the_provider_writes_it(answer: Any, tier: str) -> None:
    assert service_tier(answer) == tier


@pytest.mark.parametrize("wrong", [7, None, [], "x" * 33, "no tier", "", {"a": 1}])
def test_what_is_no_tier_is_none(wrong: object) -> None:
    assert service_tier({"service_tier": wrong, "usage": wrong}) == ""
    assert service_tier(wrong) == ""
