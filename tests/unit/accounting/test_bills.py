"""Providers' bills are read as they are written, or refused with the place that is wrong."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from services.accounting.domain import bills
from services.accounting.domain.bills import BadBillError, BillFormat, match_model, read_bill

DAY = dt.date(2026, 10, 1)
# 2026-10-01T00:00:00Z
START = 1_790_812_800


def openai(amount: Any, line_item: Any = "gpt-4o-mini-2024-07-18, input") -> bytes:
    result = {"object": "organization.costs.result", "amount": amount, "line_item": line_item}
    bucket = {"object": "bucket", "start_time": START, "end_time": START + 86_400}
    return json.dumps({"object": "page", "data": [bucket | {"results": [result]}]}).encode()


def anthropic(amount: Any, currency: str = "USD") -> bytes:
    result = {"currency": currency, "amount": amount, "model": "claude-sonnet-4-20250514"}
    bucket = {"starting_at": "2026-10-01T00:00:00Z", "ending_at": "2026-10-02T00:00:00Z"}
    return json.dumps({"data": [bucket | {"results": [result]}], "has_more": False}).encode()


def test_openais_costs_are_dollars_by_line_item() -> None:
    usd = {"value": 0.06, "currency": "usd"}

    assert read_bill(openai(usd), BillFormat.OPENAI_COSTS) == [
        ((DAY, "gpt-4o-mini-2024-07-18"), 60_000_000)
    ]
    assert read_bill(openai(usd, None), BillFormat.OPENAI_COSTS) == [((DAY, ""), 60_000_000)]


def test_anthropics_costs_are_cents_by_model() -> None:
    # 123.78912 cents are 1.2378912 dollars.
    assert read_bill(anthropic("123.78912"), BillFormat.ANTHROPIC_COSTS) == [
        ((DAY, "claude-sonnet-4-20250514"), 1_237_891_200)
    ]


def test_a_csv_has_its_columns_in_any_order() -> None:
    text = (
        b"\xef\xbb\xbfcurrency,note,model,cost,day\r\n"
        b'usd,"a, b",m,1.5,2026-10-01\r\nUSD,,,-0.000000001,2026-10-02\r\n'
    )

    assert read_bill(text, BillFormat.CSV) == [
        ((DAY, "m"), 1_500_000_000),
        ((dt.date(2026, 10, 2), ""), -1),
    ]


@pytest.mark.parametrize(
    ("content", "kind", "words"),
    [
        (b"\xff", BillFormat.CSV, "UTF-8"),
        (b"", BillFormat.CSV, "lacks the column cost"),
        (b"day,cost,currency\n", BillFormat.CSV, "no line"),
        (b"day,cost,currency\n2026-10-01,1,EUR\n", BillFormat.CSV, "line 2: currency is 'EUR'"),
        (b"day,cost,currency\n1/10/2026,1,USD\n", BillFormat.CSV, "line 2: day is '1/10/2026'"),
        (b"day,cost,currency\n2026-13-01,1,USD\n", BillFormat.CSV, "line 2: day"),
        (b"day,cost,currency\n2026-10-01,NaN,USD\n", BillFormat.CSV, "line 2: cost is 'NaN'"),
        (b"day,cost,currency\n2026-10-01,inf,USD\n", BillFormat.CSV, "line 2: cost is 'inf'"),
        (b"day,cost,currency\n2026-10-01,1e30,USD\n", BillFormat.CSV, "line 2: cost"),
        (b"day,cost,currency\n2026-10-01,much,USD\n", BillFormat.CSV, "line 2: cost is 'much'"),
        (b"day,cost,currency\n2026-10-01\n", BillFormat.CSV, "line 2: currency is None"),
        (b'day,cost,currency\n"2026' + b"x" * 200_000, BillFormat.CSV, "is no CSV"),
        (b"{", BillFormat.OPENAI_COSTS, "is not JSON"),
        (b"[" * 100_000, BillFormat.OPENAI_COSTS, "is not JSON"),
        (b"[]", BillFormat.OPENAI_COSTS, "has no list `data`"),
        (b'{"data": [1]}', BillFormat.OPENAI_COSTS, r"data\[0\] is no object"),
        (b'{"data": [{"start_time": true}]}', BillFormat.OPENAI_COSTS, "start_time"),
        (b'{"data": [{"start_time": 1}]}', BillFormat.OPENAI_COSTS, "no list `results`"),
        (
            b'{"data": [{"start_time": 1, "results": [1]}]}',
            BillFormat.OPENAI_COSTS,
            r"results\[0\] is no object",
        ),
        (openai(None), BillFormat.OPENAI_COSTS, "amount is missing"),
        (openai({"value": 1, "currency": "eur"}), BillFormat.OPENAI_COSTS, "only US dollars"),
        (openai({"value": True, "currency": "usd"}), BillFormat.OPENAI_COSTS, "not an amount"),
        (anthropic("1", "EUR"), BillFormat.ANTHROPIC_COSTS, "only US dollars"),
        (b'{"data": [{"results": []}]}', BillFormat.ANTHROPIC_COSTS, "starting_at is 'None'"),
    ],
)
def test_a_bill_that_cannot_be_read_says_where(
    content: bytes, kind: BillFormat, words: str
) -> None:
    with pytest.raises(BadBillError, match=words):
        read_bill(content, kind)


def test_a_bill_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bills, "LINE_COUNT_MAX", 1)
    with pytest.raises(BadBillError, match="more than 1 lines"):
        read_bill(b"day,cost,currency\n" + b"2026-10-01,1,USD\n" * 2, BillFormat.CSV)


@pytest.mark.parametrize(
    ("billed", "expected"),
    [
        ("gpt-4o-mini", "gpt-4o-mini"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("claude-sonnet-4-20250514", "claude-sonnet-4-20250514"),
        ("gpt-5-2025-08-07", "gpt-5-2025-08-07"),
    ],
)
def test_a_release_is_its_model_unless_the_books_know_it(billed: str, expected: str) -> None:
    booked = {"gpt-4o-mini", "claude-sonnet-4-20250514", "claude-sonnet-4"}

    assert match_model(billed, booked) == expected
