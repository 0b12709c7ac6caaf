"""Money: integers of nano-US-dollars inside and on the wire, decimals only for people.

One nano-dollar is 1e-9 USD. No float is ever involved, so nothing is rounded here.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

NANOS_PER_USD: Final = 1_000_000_000
# A billion dollars, the greatest amount that a cap may have.
AMOUNT_NANOS_MAX: Final = 10**18

_AMOUNT: Final = re.compile(r"\$?([0-9]{1,10})(?:\.([0-9]+))?")
_FRACTION_DIGIT_COUNT: Final = 9
_CENT_DIGIT_COUNT: Final = 2


def parse_usd(text: str) -> int:
    """Returns the nano-dollars that text such as "12.50" or "$0.000000001" says, exactly.

    Raises ValueError for anything else: signs, exponents, separators, NaN, infinities, more than
    nine decimals, more than a billion dollars.
    """
    match = _AMOUNT.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not an amount in US dollars; write it like 12.50")
    whole, fraction = match.group(1), match.group(2) or ""
    if len(fraction) > _FRACTION_DIGIT_COUNT:
        raise ValueError(f"{text!r} has more than {_FRACTION_DIGIT_COUNT} decimals")
    nanos = int(whole) * NANOS_PER_USD + int(fraction.ljust(_FRACTION_DIGIT_COUNT, "0"))
    if nanos > AMOUNT_NANOS_MAX:
        raise ValueError(f"{text!r} is more than 1,000,000,000 US dollars")
    return nanos


def from_usd(amount: Decimal) -> int:
    """Returns the nano-dollars of a decimal amount, exactly.

    Raises ValueError for NaN, infinities, negative amounts and those that `parse_usd` refuses.
    """
    if not amount.is_finite() or amount.is_signed():
        raise ValueError(f"{amount} is not an amount in US dollars; it must be 0 or more")
    return parse_usd(f"{amount:f}")


def to_usd(nanos: int) -> Decimal:
    """Returns the amount in US dollars, exactly."""
    sign, digits = (1, str(-nanos)) if nanos < 0 else (0, str(nanos))
    return Decimal((sign, tuple(map(int, digits)), -_FRACTION_DIGIT_COUNT))


def write_usd(nanos: int) -> str:
    """Returns an amount of 0 or more as `parse_usd` reads it, such as "0.0123" or "1250"."""
    whole, fraction = divmod(nanos, NANOS_PER_USD)
    decimals = f"{fraction:09d}".rstrip("0")
    return f"{whole}.{decimals}" if decimals else str(whole)


def format_usd(nanos: int) -> str:
    """Returns text such as "$0.0123" or "-$1,250.00": exact, with at least two decimals."""
    whole, fraction = divmod(abs(nanos), NANOS_PER_USD)
    decimals = f"{fraction:09d}".rstrip("0").ljust(_CENT_DIGIT_COUNT, "0")
    return f"{'-' if nanos < 0 else ''}${whole:,}.{decimals}"
