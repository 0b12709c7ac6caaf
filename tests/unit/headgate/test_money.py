from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headgate.money import AMOUNT_NANOS_MAX, format_usd, from_usd, parse_usd, to_usd

amounts = st.integers(min_value=0, max_value=AMOUNT_NANOS_MAX)


@pytest.mark.parametrize(
    ("text", "nanos"),
    [
        ("12.50", 12_500_000_000),
        ("$12.50", 12_500_000_000),
        (" 0.000000001 ", 1),
        ("$0.1", 100_000_000),
        ("007", 7_000_000_000),
        ("0", 0),
        ("1000000000", AMOUNT_NANOS_MAX),
        ("1000000000.000000000", AMOUNT_NANOS_MAX),
    ],
)
def test_an_amount_is_read_exactly(text: str, nanos: int) -> None:
    assert parse_usd(text) == nanos


@pytest.mark.parametrize(
    "text",
    [
        *("", "$", ".5", "5.", "-1", "+1", "1e3", "1,000", "1_000", "nan", "inf", "0x10", "$$1"),
        *("1 2", "\u0661", "0.0000000001", "1000000000.000000001", "9999999999", "10000000000000"),
    ],
)
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"US dollars|decimals"):
        parse_usd(text)


@given(amounts)
def test_an_amount_survives_its_text(nanos: int) -> None:
    assert parse_usd(format_usd(nanos).replace(",", "")) == nanos


@given(amounts)
def test_an_amount_survives_as_a_decimal(nanos: int) -> None:
    assert from_usd(to_usd(nanos)) == nanos
    assert from_usd(to_usd(nanos).normalize()) == nanos


@pytest.mark.parametrize("amount", ["NaN", "sNaN", "Infinity", "-Infinity", "-1", "-0", "1E-10"])
def test_a_decimal_that_is_no_amount_is_refused(amount: str) -> None:
    with pytest.raises(ValueError, match=r"US dollars|decimals"):
        from_usd(Decimal(amount))


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (12_300_000, "$0.0123"),
        (-1_250_000_000_000, "-$1,250.00"),
        (-1, "-$0.000000001"),
        (AMOUNT_NANOS_MAX, "$1,000,000,000.00"),
    ],
)
def test_an_amount_is_written_exactly(nanos: int, text: str) -> None:
    assert format_usd(nanos) == text


def test_a_negative_amount_is_a_negative_decimal() -> None:
    assert to_usd(-1_500_000_000) == Decimal("-1.5")
