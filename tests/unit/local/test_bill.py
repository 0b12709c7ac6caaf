"""The stand-in's arithmetic against amounts computed by hand."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from local.demo.provider.bill import Bill, Price, Usage, charge, load_prices

ROUND = Price(input=150_000_000, cached_input=75_000_000, output=600_000_000, reasoning=1)
ODD = Price(input=100_000_300, cached_input=10_000_700, output=400_000_900, reasoning=350_000_100)


def usage(prompt: int, cached: int, completion: int, reasoning: int) -> Usage:
    return Usage(
        prompt_tokens=prompt,
        cached_tokens=cached,
        completion_tokens=completion,
        reasoning_tokens=reasoning,
    )


@pytest.mark.parametrize(
    ("used", "price", "nanos"),
    [
        (usage(0, 0, 0, 0), ROUND, 0),
        (usage(1000, 0, 0, 0), ROUND, 150_000),
        (usage(1000, 400, 0, 0), ROUND, 90_000 + 30_000),
        (usage(1000, 400, 100, 0), ROUND, 120_000 + 60_000),
        # 500,000 tokens at 1 nano a million: exactly a half, rounded up. One fewer: down.
        (usage(0, 0, 500_000, 500_000), ROUND, 1),
        (usage(0, 0, 499_999, 499_999), ROUND, 0),
        # 600*100.0003=60000.18, 400*10.0007=4000.28, 60*400.0009=24000.054, 40*350.0001=14000.004
        (usage(1000, 400, 100, 40), ODD, 60_000 + 4_000 + 24_000 + 14_000),
        # 5000*100.0003=500001.5 rounds up; 5000*10.0007=50003.5 rounds up: each by itself.
        (usage(10_000, 5_000, 0, 0), ODD, 500_002 + 50_004),
    ],
)
def test_each_kind_of_token_is_priced_and_rounded_by_itself(
    used: Usage, price: Price, nanos: int
) -> None:
    assert charge(used, price) == nanos


def test_the_price_file_prices_every_model_in_whole_nanos() -> None:
    prices = load_prices()

    assert len(prices) >= 3
    for (provider, _), price in prices.items():
        assert provider.startswith("demo-")
        quoted = asdict(price).values()
        assert any(quoted)
        assert all(isinstance(each, int) and each >= 0 for each in quoted)


def test_the_bill_appends_whole_lines_and_sums_them(tmp_path: Path) -> None:
    path = tmp_path / "bill.jsonl"
    for call_id in ("a", "b"):
        with Bill(path) as bill:
            bill.add(
                call_id=call_id,
                provider="p",
                model="m",
                usage=usage(3, 2, 1, 0),
                nanos=7,
                ended="cut",
            )
            assert (bill.call_count, bill.total_nanos) == (1, 7)

    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["id"] for line in lines] == ["a", "b"]
    assert lines[0]["nanos"] == 7
    assert lines[0]["ended"] == "cut"
