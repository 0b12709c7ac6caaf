"""Files of prices, in YAML: read as they are written, or refused with every place that is wrong.

prices:
  - provider: openai
    model: gpt-4o-mini
    org: acme                      # left out: for the platform
    meters:                        # US dollars for a million units
      input: 0.15
      output: {usd: 0.60, above: {200000: 0.90}}
    variants:
      - tier: batch
        meters: {input: 0.075, output: 0.30}
      - from: "16:30"              # of the day in UTC
        to: "00:30"
        meters: {input: 0.1, output: 0.4}
  - operation: draw                # calls of models without a price, each
    flat: 0.04
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import yaml

from headgate.api.common.v1 import price_pb2
from headgate.cli.route_files import parse_whole
from headgate.money import parse_usd, write_usd

METERS: Final = {
    value.name.removeprefix("METER_").lower().replace("_", "-"): value.number
    for value in price_pb2.Meter.DESCRIPTOR.values
    if value.number
}
_CALL: Final = price_pb2.METER_CALL
_MILLION: Final = 10**6
_TIME: Final = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_MINUTES_PER_DAY: Final = 1_440
# The end of a day, which is not its beginning.
_MIDNIGHT: Final = "24:00"
_PRICE_FIELDS: Final = {"provider", "model", "org", "operation", "flat", "meters", "variants"}


class BadPriceFileError(Exception):
    """What is wrong, one line for each place."""


def read_prices(text: str) -> list[price_pb2.ModelPrice]:
    """Returns the prices of a file. Raises BadPriceFileError."""
    try:
        # Every scalar stays as it is written: no amount becomes a float.
        document = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - it makes texts alone
    except yaml.YAMLError as error:
        raise BadPriceFileError(f"is no YAML: {' '.join(str(error).split())}") from None
    reader = PriceReader()
    prices = reader.read(document)
    if reader.wrong:
        raise BadPriceFileError("\n".join(reader.wrong))
    return prices


def describe_price(price: price_pb2.ModelPrice) -> dict[str, Any]:
    """Returns what a file says of a price, each value as a text."""
    names = ("provider", "model", "operation", "org")
    told: dict[str, Any] = {name: getattr(price, name) for name in names if getattr(price, name)}
    if price.operation and not price.meters[0].nanos_per_million % _MILLION:
        told["flat"] = write_usd(price.meters[0].nanos_per_million // _MILLION)
    else:
        told["meters"] = _describe_meters(price.meters)
    if price.variants:
        told["variants"] = [_describe_variant(each) for each in price.variants]
    return told


def _describe_variant(variant: price_pb2.PriceVariant) -> dict[str, Any]:
    told: dict[str, Any] = {"tier": variant.service_tier} if variant.service_tier else {}
    if (variant.start_minute, variant.end_minute) != (0, 0):
        told["from"], told["to"] = (
            f"{minute // 60:02}:{minute % 60:02}"
            for minute in (variant.start_minute, variant.end_minute)
        )
    return {**told, "meters": _describe_meters(variant.meters)}


def _describe_meters(meters: Iterable[price_pb2.MeterPrice]) -> dict[str, Any]:
    names = {number: name for name, number in METERS.items()}
    return {
        names[each.meter]: _describe_rate(each)
        for each in sorted(meters, key=lambda each: each.meter)
    }


def _describe_rate(rate: price_pb2.MeterPrice) -> str | dict[str, Any]:
    usd = write_usd(rate.nanos_per_million)
    if not rate.tiers:
        return usd
    above = {
        str(tier.input_token_threshold): write_usd(tier.nanos_per_million) for tier in rate.tiers
    }
    return {"usd": usd, "above": above}


class PriceReader:
    """Collects everything that is wrong, so that one look finds it all."""

    def __init__(self) -> None:
        self.wrong: list[str] = []

    def read(self, document: Any) -> list[price_pb2.ModelPrice]:
        """Returns the prices of a document."""
        listed = document.get("prices") if isinstance(document, dict) else None
        if not isinstance(listed, list) or not listed:
            self.wrong.append("prices: required, a list")
            return []
        return [self.price(f"prices[{place}]", each) for place, each in enumerate(listed)]

    def price(self, path: str, given: Any) -> price_pb2.ModelPrice:
        """Returns what a price in a file says."""
        message = price_pb2.ModelPrice()
        if not self._is_mapping(path, given, _PRICE_FIELDS):
            return message
        for name in ("provider", "model", "org", "operation"):
            value = given.get(name, "")
            if isinstance(value, str):
                setattr(message, name, value)
            else:
                self.wrong.append(f"{path}.{name}: must be a text")
        if "flat" in given:
            nanos = self._usd(f"{path}.flat", given["flat"])
            message.meters.add(meter=_CALL, nanos_per_million=nanos * _MILLION)
        message.meters.extend(self._meters(f"{path}.meters", given.get("meters", {})))
        variants = given.get("variants", [])
        if not isinstance(variants, list):
            self.wrong.append(f"{path}.variants: must be a list")
            variants = []
        for place, each in enumerate(variants):
            message.variants.append(self._variant(f"{path}.variants[{place}]", each))
        return message

    def _variant(self, path: str, given: Any) -> price_pb2.PriceVariant:
        message = price_pb2.PriceVariant()
        if self._is_mapping(path, given, {"tier", "from", "to", "meters"}):
            message.service_tier = str(given.get("tier", ""))
            message.start_minute = self._minute(f"{path}.from", given.get("from", "00:00"))
            message.end_minute = self._minute(f"{path}.to", given.get("to", "00:00"))
            message.meters.extend(self._meters(f"{path}.meters", given.get("meters", {})))
        return message

    def _meters(self, path: str, given: Any) -> list[price_pb2.MeterPrice]:
        if not self._is_mapping(path, given, METERS):
            return []
        return [
            self._rate(f"{path}.{name}", METERS[name], rate)
            for name, rate in given.items()
            if name in METERS
        ]

    def _rate(self, path: str, meter: int, given: Any) -> price_pb2.MeterPrice:
        message = price_pb2.MeterPrice(meter=price_pb2.Meter.ValueType(meter))
        if not isinstance(given, dict):
            message.nanos_per_million = self._usd(path, given)
        elif self._is_mapping(path, given, {"usd", "above"}):
            message.nanos_per_million = self._usd(f"{path}.usd", given.get("usd"))
            above = given.get("above", {})
            for threshold, usd in above.items() if isinstance(above, dict) else ():
                if parse_whole(str(threshold)) is None:
                    self.wrong.append(f"{path}.above: {threshold!r} is no count of tokens")
                    continue
                nanos = self._usd(f"{path}.above.{threshold}", usd)
                message.tiers.add(input_token_threshold=int(threshold), nanos_per_million=nanos)
        return message

    def _usd(self, path: str, given: Any) -> int:
        try:
            return parse_usd(str(given))
        except ValueError:
            self.wrong.append(f"{path}: {given!r} is no amount of US dollars, such as 0.15")
            return 0

    def _minute(self, path: str, given: Any) -> int:
        found = _TIME.fullmatch(str(given))
        if given == _MIDNIGHT:
            return _MINUTES_PER_DAY
        if found is None:
            self.wrong.append(f"{path}: {given!r} is no time of the day, such as 16:30")
            return 0
        return int(found[1]) * 60 + int(found[2])

    def _is_mapping(self, path: str, given: Any, known: set[str] | Mapping[str, int]) -> bool:
        if not isinstance(given, dict):
            self.wrong.append(f"{path}: must have names and values")
            return False
        self.wrong += [f"{path}.{name}: is not known" for name in given if name not in known]
        return True
