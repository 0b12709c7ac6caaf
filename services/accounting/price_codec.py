"""Prices as they are stored: JSON by the meters' names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from services.accounting.domain.meters import Meter
from services.accounting.domain.pricing import Price, Rate, Variant

_NAMES: Final = {meter: meter.name.lower() for meter in Meter}
_METERS: Final = {name: meter for meter, name in _NAMES.items()}


def encode_meters(price: Price) -> str:
    """Returns the rates: {"input": {"nanos": 150000000, "tiers": [[200000, 300000000]]}}."""
    return json.dumps(_encode_rates(price.rates))


def encode_variants(price: Price) -> str | None:
    """Returns the variants, in order, or None if there are none."""
    if not price.variants:
        return None
    return json.dumps(
        [
            {
                "service_tier": variant.service_tier,
                "start_minute": variant.start_minute,
                "end_minute": variant.end_minute,
                "meters": _encode_rates(variant.rates),
            }
            for variant in price.variants
        ]
    )


def decode_price(meters: str, variants: str | None) -> Price:
    """Returns the price that was stored so."""
    return Price(
        _decode_rates(json.loads(meters)),
        tuple(
            Variant(
                rates=_decode_rates(stored["meters"]),
                service_tier=stored["service_tier"],
                start_minute=stored["start_minute"],
                end_minute=stored["end_minute"],
            )
            for stored in (json.loads(variants) if variants else ())
        ),
    )


def _encode_rates(rates: Mapping[Meter, Rate]) -> dict[str, dict[str, Any]]:
    return {
        _NAMES[meter]: {
            "nanos": rate.nanos_per_million,
            **({"tiers": [list(tier) for tier in rate.tiers]} if rate.tiers else {}),
        }
        for meter, rate in rates.items()
    }


def _decode_rates(stored: Mapping[str, Mapping[str, Any]]) -> dict[Meter, Rate]:
    return {
        _METERS[name]: Rate(
            rate["nanos"], tuple((threshold, nanos) for threshold, nanos in rate.get("tiers", ()))
        )
        for name, rate in stored.items()
    }
