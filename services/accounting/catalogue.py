"""The price catalogue of the `genai-prices` package, as prices of our meters.

Nothing is fetched: it is the catalogue that the installed package ships. It takes some 40 MB of
memory, so that it is imported by whoever reads it only.

What the catalogue charges by a unit that has no meter here is not part of the prices. A model
that has tokens but no price for input is left out: unpriced, which is not free.
"""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING, Final

from services.accounting.domain.meters import INPUT_TOKENS, OUTPUT_TOKENS, Meter
from services.accounting.domain.pricebook import CataloguePrice
from services.accounting.domain.pricing import PRICE_MAX, TIER_COUNT_MAX, Price, Rate

if TYPE_CHECKING:
    from genai_prices import types

_NANOS: Final = 10**9
_MTOK: Final = Decimal(1)
_K: Final = Decimal(1_000)
# A million milliseconds, in hours.
_HOURS: Final = Decimal(1_000_000) / 3_600_000
# The catalogue's keys of each meter, and how many of the key's units are a million of the meter's.
_KEYS: Final[dict[Meter, tuple[tuple[str, Decimal], ...]]] = {
    Meter.INPUT: (("input_mtok", _MTOK),),
    Meter.CACHE_READ: (("cache_read_mtok", _MTOK),),
    Meter.CACHE_WRITE_5M: (("cache_write_mtok", _MTOK),),
    # A long-lived entry without a price of its own is written at the price of any entry.
    Meter.CACHE_WRITE_1H: (("cache_write_1h_mtok", _MTOK), ("cache_write_mtok", _MTOK)),
    Meter.OUTPUT: (("output_mtok", _MTOK),),
    Meter.REASONING: (("output_reasoning_mtok", _MTOK),),
    Meter.AUDIO_INPUT: (("input_audio_mtok", _MTOK),),
    Meter.AUDIO_CACHE_READ: (("cache_audio_read_mtok", _MTOK),),
    Meter.AUDIO_OUTPUT: (("output_audio_mtok", _MTOK),),
    Meter.IMAGE_INPUT: (("input_image_mtok", _MTOK),),
    Meter.IMAGE_CACHE_READ: (("cache_image_read_mtok", _MTOK),),
    Meter.IMAGE_OUTPUT: (("output_image_mtok", _MTOK),),
    Meter.CHARACTER: (("input_mchars", _MTOK),),
    Meter.AUDIO_MS: (("audio_hours", _HOURS), ("input_audio_hours", _HOURS)),
    Meter.WEB_SEARCH: (("web_searches_kcount", _K),),
    Meter.FILE_SEARCH: (("storage_searches_kcount", _K),),
    Meter.PAGE: (("input_document_kpages", _K),),
    Meter.CALL: (("requests_kcount", _K),),
}
_TOKENS: Final = frozenset((*INPUT_TOKENS, *OUTPUT_TOKENS))
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
    # Models whose units have no meter here.
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
    """Returns the price in our meters; None if nothing of it has one. Raises BadPriceError."""
    rates: dict[Meter, Rate] = {}
    for meter, keys in _KEYS.items():
        for key, units in keys:
            value = offered.__dict__.get(key)
            if value is not None:
                rates[meter] = _convert_rate(value, units)
                break
    if _TOKENS.isdisjoint(rates):
        # Searches and calls come on top of something: alone they price no model.
        return Price(rates) if rates.keys() - {Meter.WEB_SEARCH, Meter.FILE_SEARCH} else None
    if Meter.INPUT not in rates:
        return None
    if Meter.OUTPUT not in rates:
        others = [rates[meter] for meter in OUTPUT_TOKENS if meter in rates]
        if others:
            # It puts out images only, for example: whatever else came would cost as much at most.
            rates[Meter.OUTPUT] = max(others, key=lambda rate: rate.dearest)
            return Price(rates)
        if any(key.startswith("output_") for key in offered.__dict__):
            return None
        # Embeddings, for example: what is put out costs nothing.
        rates[Meter.OUTPUT] = _FREE
    return Price(rates)


def _price_of_day(model: types.ModelInfo, day: dt.date) -> Price | None:
    prices = [convert_price(model.get_prices(moment)) for moment in _moments(model, day)]
    return max(
        (price for price in prices if price is not None),
        key=lambda price: sum(rate.dearest for rate in price.rates.values()),
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


def _convert_rate(value: Decimal | types.TieredPrices, units: Decimal) -> Rate:
    if isinstance(value, Decimal):
        return Rate(_convert_amount(value * units))
    if len(value.tiers) > TIER_COUNT_MAX:
        raise BadPriceError
    tiers = tuple((tier.start, _convert_amount(tier.price * units)) for tier in value.tiers)
    thresholds = [0, *(threshold for threshold, _ in tiers)]
    if any(later <= earlier for earlier, later in itertools.pairwise(thresholds)):
        raise BadPriceError
    return Rate(_convert_amount(value.base * units), tiers)


def _convert_amount(dollars: Decimal) -> int:
    if not (dollars.is_finite() and 0 <= dollars <= Decimal(PRICE_MAX) / _NANOS):
        raise BadPriceError
    return int((dollars * _NANOS).to_integral_value(ROUND_CEILING))
