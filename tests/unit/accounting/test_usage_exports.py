"""Providers' usage exports are counts by day and model, priced like a bill."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from services.accounting.domain.bills import BadBillError, BillFormat
from services.accounting.domain.meters import Meter
from services.accounting.domain.pricing import Price, Rate, Variant
from services.accounting.domain.usage_exports import UsageLine, read_usage

DAY = dt.date(2026, 10, 1)
# 2026-10-01T00:00:00Z
START = 1_790_812_800
PRICE = Price(
    {Meter.INPUT: Rate(1_000_000, ((200_000, 2_000_000),)), Meter.OUTPUT: Rate(4_000_000)},
    (Variant(rates={Meter.OUTPUT: Rate(2_000_000)}, service_tier="batch"),),
)


def openai(**changes: Any) -> bytes:
    """As documented for completions, grouped by model."""
    result: dict[str, Any] = {
        "object": "organization.usage.completions.result",
        "input_tokens": 1_000_000,
        "output_tokens": 500,
        "input_cached_tokens": 800,
        "input_audio_tokens": 0,
        "output_audio_tokens": 0,
        "num_model_requests": 5,
        "project_id": None,
        "model": "gpt-4o-mini-2024-07-18",
        "batch": False,
    }
    bucket = {"object": "bucket", "start_time": START, "end_time": START + 86_400}
    bucket["results"] = [result | changes]
    return json.dumps({"object": "page", "data": [bucket]}).encode()


def anthropic(**changes: Any) -> bytes:
    """As documented for messages, grouped by model and tier of service."""
    result: dict[str, Any] = {
        "uncached_input_tokens": 1_500,
        "cache_creation": {
            "ephemeral_1h_input_tokens": 1_000,
            "ephemeral_5m_input_tokens": 500,
        },
        "cache_read_input_tokens": 200,
        "output_tokens": 500,
        "server_tool_use": {"web_search_requests": 10},
        "model": "claude-sonnet-4-20250514",
        "service_tier": "standard",
    }
    bucket = {"starting_at": "2026-10-01T00:00:00Z", "ending_at": "2026-10-02T00:00:00Z"}
    return json.dumps({"data": [bucket | {"results": [result | changes]}]}).encode()


def test_openais_counts_become_disjoint_meters() -> None:
    (line,) = read_usage(openai(), BillFormat.OPENAI_USAGE)

    assert line.place == (DAY, "gpt-4o-mini-2024-07-18")
    assert {meter: count for meter, count in line.meters.items() if count} == {
        Meter.INPUT: 999_200,
        Meter.CACHE_READ: 800,
        Meter.OUTPUT: 500,
    }
    # A sum tells no length of a context: (999,200 + 800) x 1 + 500 x 4 nano-dollars.
    assert line.cost_nanos(PRICE) == 1_002_000


def test_a_batch_is_priced_as_one() -> None:
    (line,) = read_usage(openai(batch=True), BillFormat.OPENAI_USAGE)

    assert line.cost_nanos(PRICE) == 1_001_000


def test_anthropics_counts_become_disjoint_meters() -> None:
    (line,) = read_usage(anthropic(), BillFormat.ANTHROPIC_USAGE)

    assert line.place == (DAY, "claude-sonnet-4-20250514")
    assert line.service_tier == ""
    assert dict(line.meters) == {
        Meter.INPUT: 1_500,
        Meter.CACHE_READ: 200,
        Meter.CACHE_WRITE_5M: 500,
        Meter.CACHE_WRITE_1H: 1_000,
        Meter.OUTPUT: 500,
        Meter.WEB_SEARCH: 10,
    }
    with pytest.raises(BadBillError, match="web_search of claude-sonnet-4-20250514 on 2026-10-01"):
        line.cost_nanos(PRICE)


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (b"[]", BillFormat.OPENAI_USAGE, "no list `data`"),
        (b'{"data": []}', BillFormat.ANTHROPIC_USAGE, "no line"),
        (openai(model=None), BillFormat.OPENAI_USAGE, "grouped by model"),
        (openai(input_tokens=-1), BillFormat.OPENAI_USAGE, "input_tokens is -1"),
        (openai(input_tokens=1.5), BillFormat.OPENAI_USAGE, "input_tokens is 1.5"),
        (openai(output_tokens=True), BillFormat.OPENAI_USAGE, "output_tokens is True"),
        (openai(input_cached_tokens=10**7), BillFormat.OPENAI_USAGE, "more cached tokens"),
        (anthropic(cache_creation=[1]), BillFormat.ANTHROPIC_USAGE, "cache_creation is no object"),
        (anthropic(output_tokens=10**16), BillFormat.ANTHROPIC_USAGE, "not a count"),
    ],
)
def test_what_cannot_be_counted_is_refused_with_its_place(
    content: bytes, kind: BillFormat, words: str
) -> None:
    with pytest.raises(BadBillError, match=words):
        read_usage(content, kind)


def test_what_has_no_price_is_no_sum() -> None:
    (line,) = read_usage(openai(), BillFormat.OPENAI_USAGE)
    with pytest.raises(BadBillError, match="has no price"):
        line.cost_nanos(None)


def test_what_was_not_used_needs_no_price() -> None:
    line = UsageLine(
        place=(DAY, "m"), meters={Meter.INPUT: 2_000_000, Meter.AUDIO_INPUT: 0}, service_tier=""
    )

    assert line.cost_nanos(PRICE) == 2_000_000
    assert (
        UsageLine(place=(DAY, "m"), meters={Meter.INPUT: 0}, service_tier="").cost_nanos(None) == 0
    )
