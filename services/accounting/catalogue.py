"""The price catalogue of the `genai-prices` package, as prices of our meters.

Nothing is fetched: it is the catalogue that the installed package ships. It takes some 40 MB of
memory, so that it is imported by whoever reads it only.

What the catalogue charges by other units (searches, pages, hours of audio) has no meter here and
is not part of the prices. A model without a price for input tokens is left out: unpriced, which
is not free.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Final

from services.accounting.domain.pricebook import CataloguePrice
from services.accounting.domain.pricing import PRICE_MAX, TIER_COUNT_MAX, Price, Rate
from services.accounting.domain.usage import Meter

if TYPE_CHECKING:
    from genai_prices import types

# The catalogue's prices are US dollars per million tokens.
_NANOS: Final = 10**9
_KEYS: Final = {
    Meter.INPUT: ("input_mtok",),
    Meter.CACHE_READ: ("cache_read_mtok",),
    Meter.CACHE_WRITE_5M: ("cache_write_mtok",),
    # A long-lived entry without a price of its own is written at the price of any entry.
    Meter.CACHE_WRITE_1H: ("cache_write_1h_mtok", "cache_write_mtok"),
    Meter.OUTPUT: ("output_mtok",),
    Meter.REASONING: ("output_reasoning_mtok",),
}
_FREE: Final = Rate(0)


class BadPriceError(ValueError):
    """A price of the catalogue is out of bounds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """What the package offers."""

    # At most one for each provider and model.
    prices: tuple[CataloguePrice, ...]
    # Models, as "provider/model", whose price is out of bounds.
    rejected: tuple[str, ...]
    # Models that are not priced by tokens.
    unpriced_count: int


def read_catalogue(day: dt.date) -> Catalogue:
    """Returns the prices that are in force on a day in UTC.

    A price that depends on the hour is taken at its dearest. Names that the catalogue gives a
    model besides its id are models of the same price.
    """
    from genai_prices import data  # noqa: PLC0415 - large, and only importers read it

    prices: dict[tuple[str, str], Price] = {}
    rejected: list[str] = []
    unpriced_count = 0
    for provider in data.providers:
        for model in provider.models:
            try:
                price = _price_of_day(model, day)
            except BadPriceError:
                rejected.append(f"{provider.id}/{model.id}")
                continue
            if price is None:
                unpriced_count += 1
                continue
            prices[provider.id, model.id] = price
            for name in _other_names(provider, model):
                prices.setdefault((provider.id, name), price)
    return Catalogue(
        prices=tuple(
            CataloguePrice(provider=provider, model=model, price=price)
            for (provider, model), price in sorted(prices.items(), key=lambda item: item[0])
        ),
        rejected=tuple(rejected),
        unpriced_count=unpriced_count,
    )


def convert_price(offered: types.ModelPrice) -> Price | None:
    """Returns the price in our meters; None if it is not one by tokens. Raises BadPriceError."""
    rates: dict[Meter, Rate] = {}
    for meter, keys in _KEYS.items():
        for key in keys:
            value = offered.__dict__.get(key)
            if value is not None:
                rates[meter] = _convert_rate(value)
                break
    if Meter.INPUT not in rates:
        return None
    if Meter.OUTPUT not in rates:
        if any(key.startswith("output_") for key in offered.__dict__):
            return None
        # Embeddings, for example: what is put out costs nothing.
        rates[Meter.OUTPUT] = _FREE
    return Price(rates)


def _price_of_day(model: types.ModelInfo, day: dt.date) -> Price | None:
    prices = [convert_price(model.get_prices(moment)) for moment in _moments(model, day)]
    return max(
        (price for price in prices if price is not None),
        key=lambda price: price.rate(Meter.OUTPUT).dearest + price.rate(Meter.INPUT).dearest,
        default=None,
    )


def _moments(model: types.ModelInfo, day: dt.date) -> Iterator[dt.datetime]:
    midnight = dt.datetime.combine(day, dt.time(), dt.UTC)
    yield midnight
    if isinstance(model.prices, list):
        for conditional in model.prices:
            start: dt.time | None = getattr(conditional.constraint, "start_time", None)
            end: dt.time | None = getattr(conditional.constraint, "end_time", None)
            if start is not None and end is not None:
                yield dt.datetime.combine(day, start, start.tzinfo or dt.UTC)
                yield dt.datetime.combine(day, end, end.tzinfo or dt.UTC)


def _other_names(provider: types.Provider, model: types.ModelInfo) -> Iterator[str]:
    for name in _exact_names(model.match):
        if provider.find_model(name) is model:
            yield name


def _exact_names(clause: types.MatchLogic) -> Iterator[str]:
    name: str | None = getattr(clause, "equals", None)
    if name is not None:
        yield name
    for part in getattr(clause, "or_", ()):
        yield from _exact_names(part)


def _convert_rate(value: Decimal | types.TieredPrices) -> Rate:
    if isinstance(value, Decimal):
        return Rate(_convert_amount(value))
    if len(value.tiers) > TIER_COUNT_MAX:
        raise BadPriceError
    tiers = tuple((tier.start, _convert_amount(tier.price)) for tier in value.tiers)
    thresholds = [0, *(threshold for threshold, _ in tiers)]
    if any(later <= earlier for earlier, later in itertools.pairwise(thresholds)):
        raise BadPriceError
    return Rate(_convert_amount(value.base), tiers)


def _convert_amount(dollars: Decimal) -> int:
    if not (dollars.is_finite() and 0 <= dollars <= Decimal(PRICE_MAX) / _NANOS):
        raise BadPriceError
    return int((dollars * _NANOS).to_integral_value(ROUND_CEILING))
