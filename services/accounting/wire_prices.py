"""Prices: protobuf to domain with validation, and back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from chassis.checks import Checks
from headgate.api.accounting.v1 import accounting_pb2 as pb
from headgate.api.common.v1 import price_pb2
from services.accounting.domain.meters import INPUT_TOKENS, OUTPUT_TOKENS, Meter
from services.accounting.domain.pricebook import PriceBook, PriceEntry
from services.accounting.domain.pricing import (
    PRICE_MAX,
    REQUIRED_METERS,
    TIER_COUNT_MAX,
    Price,
    Rate,
)
from services.accounting.wire import INT64_MAX, NAME_LENGTH_MAX, PROVIDER_LENGTH_MAX

AUDIT_ID_LENGTH_MAX: Final = 128
_PROVIDER: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")
_METERS: Final = frozenset(Meter)
_TOKENS: Final = frozenset((*INPUT_TOKENS, *OUTPUT_TOKENS))


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceTarget:
    """Names the price that a change is about, and the change."""

    provider: str
    model: str
    # Empty: the platform.
    org: str
    audit_id: str


def parse_known_version(request: pb.GetPriceBookRequest) -> int:
    """Returns the caller's version. Raises InvalidArgument."""
    checks = Checks()
    version = checks.integer("known_version", request.known_version, minimum=0, maximum=INT64_MAX)
    checks.raise_if_any()
    return version


def render_book(book: PriceBook) -> pb.GetPriceBookResponse:
    """Renders the prices in force at the book's version."""
    prices = [render_price(entry) for entry in book.in_force()]
    return pb.GetPriceBookResponse(version=book.version, prices=prices)


def parse_put(request: pb.PutPriceRequest) -> tuple[PriceTarget, Price]:
    """Returns what to price, and how. Raises InvalidArgument."""
    checks = Checks()
    target = PriceTarget(
        provider=_parse_provider(checks, "price.provider", request.price.provider),
        model=checks.text("price.model", request.price.model, max_length=NAME_LENGTH_MAX),
        org=checks.text("price.org", request.price.org, min_length=0, max_length=NAME_LENGTH_MAX),
        audit_id=checks.text("audit_id", request.audit_id, max_length=AUDIT_ID_LENGTH_MAX),
    )
    rates = {
        Meter(message.meter): _parse_rate(checks, f"price.meters[{place}]", message)
        for place, message in enumerate(request.price.meters)
        if _parse_meter(checks, f"price.meters[{place}].meter", message.meter)
    }
    if len(rates) < len(request.price.meters) and not checks.violations:
        checks.violate("price.meters", "list each meter once")
    missing = [meter.name for meter in REQUIRED_METERS if meter not in rates]
    if missing and (not rates or not _TOKENS.isdisjoint(rates)):
        checks.violate(
            "price.meters", f"list {' and '.join(missing)} too; what is free has price 0"
        )
    checks.raise_if_any()
    return target, Price(rates)


def render_put(entry: PriceEntry) -> pb.PutPriceResponse:
    """Renders the override as stored."""
    return pb.PutPriceResponse(price=render_price(entry), version=entry.since_version)


def parse_delete(request: pb.DeletePriceRequest) -> PriceTarget:
    """Returns which override to end. Raises InvalidArgument."""
    checks = Checks()
    target = PriceTarget(
        provider=_parse_provider(checks, "provider", request.provider),
        model=checks.text("model", request.model, max_length=NAME_LENGTH_MAX),
        org=checks.text("org", request.org, min_length=0, max_length=NAME_LENGTH_MAX),
        audit_id=checks.text("audit_id", request.audit_id, max_length=AUDIT_ID_LENGTH_MAX),
    )
    checks.raise_if_any()
    return target


def render_price(entry: PriceEntry) -> price_pb2.ModelPrice:
    """Renders one price."""
    message = price_pb2.ModelPrice(
        provider=entry.provider, model=entry.model, org=entry.org, source=entry.source.value
    )
    message.start_time.FromDatetime(entry.start_time)
    for meter, rate in entry.price.rates.items():
        rendered = message.meters.add(meter=meter.value, nanos_per_million=rate.nanos_per_million)
        for threshold, nanos in rate.tiers:
            rendered.tiers.add(input_token_threshold=threshold, nanos_per_million=nanos)
    return message


def _parse_provider(checks: Checks, field: str, value: str) -> str:
    return checks.text(field, value, max_length=PROVIDER_LENGTH_MAX, pattern=_PROVIDER)


def _parse_meter(checks: Checks, field: str, value: int) -> bool:
    return checks.choice(field, value, allowed=_METERS) in _METERS


def _parse_rate(checks: Checks, field: str, message: price_pb2.MeterPrice) -> Rate:
    checks.integer(
        f"{field}.nanos_per_million", message.nanos_per_million, minimum=0, maximum=PRICE_MAX
    )
    if len(message.tiers) > TIER_COUNT_MAX:
        checks.violate(f"{field}.tiers", f"at most {TIER_COUNT_MAX} are allowed")
        return Rate(0)
    previous = 0
    tiers: list[tuple[int, int]] = []
    for place, tier in enumerate(message.tiers):
        path = f"{field}.tiers[{place}]"
        if tier.input_token_threshold <= previous:
            checks.violate(
                f"{path}.input_token_threshold", f"must be greater than {previous}: tiers ascend"
            )
        checks.integer(
            f"{path}.nanos_per_million", tier.nanos_per_million, minimum=0, maximum=PRICE_MAX
        )
        previous = tier.input_token_threshold
        tiers.append((tier.input_token_threshold, tier.nanos_per_million))
    return Rate(message.nanos_per_million, tuple(tiers))
