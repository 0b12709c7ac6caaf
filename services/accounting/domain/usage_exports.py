"""Usage as providers export it: counts by day and model, priced as if they were a bill."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from services.accounting.domain.bills import (
    BadBillError,
    BillFormat,
    buckets,
    collect,
    day_of_second,
    parse_day,
    results,
)
from services.accounting.domain.meters import Meter
from services.accounting.domain.pricing import UNITS, Price
from services.accounting.domain.reconciliation import Place

USAGE_FORMATS: Final = frozenset({BillFormat.OPENAI_USAGE, BillFormat.ANTHROPIC_USAGE})
# More in a day is no usage.
_COUNT_MAX: Final = 10**15


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageLine:
    """What a provider counted of one model on one day."""

    place: Place
    meters: Mapping[Meter, int]
    # Empty: the standard one.
    service_tier: str

    def cost_nanos(self, price: Price | None) -> int:
        """Returns what it costs. Sums tell no lengths of contexts: the lowest tier is taken.

        Raises BadBillError if something of it has no price.
        """
        total, plain = 0, None if price is None else price.variant_for(self.service_tier, 0)
        for meter, count in self.meters.items():
            rate = None if plain is None else plain.rate(meter)
            if count and rate is None:
                day, model = self.place
                raise BadBillError(f"{meter.name.lower()} of {model} on {day} has no price")
            if rate is not None:
                total += (2 * count * rate.nanos_per_million + UNITS) // (2 * UNITS)
        return total


def read_usage(content: bytes, kind: BillFormat) -> list[UsageLine]:
    """Returns the lines of an export. Raises BadBillError."""
    reader: Callable[[str], Iterator[UsageLine]] = _read_openai
    if kind is BillFormat.ANTHROPIC_USAGE:
        reader = _read_anthropic
    return collect(content, reader)


def _read_openai(text: str) -> Iterator[UsageLine]:
    for where, bucket in buckets(text):
        day = day_of_second(f"{where}.start_time", bucket.get("start_time"))
        for place, result in results(where, bucket):
            cached = _count(place, result, "input_cached_tokens")
            # Text alone; what was cached is in it, audio is not.
            whole = _count(place, result, "input_tokens")
            if cached > whole:
                raise BadBillError(f"{place} has more cached tokens than tokens")
            meters = {
                Meter.INPUT: whole - cached,
                Meter.CACHE_READ: cached,
                Meter.OUTPUT: _count(place, result, "output_tokens"),
                Meter.AUDIO_INPUT: _count(place, result, "input_audio_tokens"),
                Meter.AUDIO_OUTPUT: _count(place, result, "output_audio_tokens"),
            }
            tier = "batch" if result.get("batch") is True else ""
            yield _line(place, day, result, meters, tier)


def _read_anthropic(text: str) -> Iterator[UsageLine]:
    for where, bucket in buckets(text):
        day = parse_day(f"{where}.starting_at", str(bucket.get("starting_at"))[:10])
        for place, result in results(where, bucket):
            written = _part(place, result, "cache_creation")
            tools = _part(place, result, "server_tool_use")
            meters = {
                Meter.INPUT: _count(place, result, "uncached_input_tokens"),
                Meter.CACHE_READ: _count(place, result, "cache_read_input_tokens"),
                Meter.CACHE_WRITE_5M: _count(place, written, "ephemeral_5m_input_tokens"),
                Meter.CACHE_WRITE_1H: _count(place, written, "ephemeral_1h_input_tokens"),
                Meter.OUTPUT: _count(place, result, "output_tokens"),
                Meter.WEB_SEARCH: _count(place, tools, "web_search_requests"),
            }
            tier = str(result.get("service_tier") or "")
            yield _line(place, day, result, meters, "" if tier == "standard" else tier)


def _line(
    place: str, day: dt.date, result: Mapping[str, Any], meters: Mapping[Meter, int], tier: str
) -> UsageLine:
    model = result.get("model")
    if not isinstance(model, str) or not model:
        raise BadBillError(f"{place}.model is missing: export it grouped by model")
    return UsageLine(place=(day, model), meters=meters, service_tier=tier)


def _part(place: str, result: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = result.get(name) or {}
    if not isinstance(part, dict):
        raise BadBillError(f"{place}.{name} is no object")
    return part


def _count(place: str, result: Mapping[str, Any], name: str) -> int:
    value = result.get(name)
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _COUNT_MAX:
        raise BadBillError(f"{place}.{name} is {value!r}, not a count")
    return value
