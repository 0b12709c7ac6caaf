"""Prices: protobuf to domain with validation, and back."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

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
    Variant,
)
from services.accounting.overrides import Override, PriceKey
from services.accounting.wire import (
    INT64_MAX,
    NAME_LENGTH_MAX,
    PROVIDER_LENGTH_MAX,
    SERVICE_TIER,
    SERVICE_TIER_LENGTH_MAX,
)
from services.accounting.wire_usage import parse_instant

AUDIT_ID_LENGTH_MAX: Final = 128
VARIANT_COUNT_MAX: Final = 16
MINUTES_PER_DAY: Final = 1_440
_PROVIDER: Final = re.compile(r"[a-z0-9][a-z0-9._-]*")
_METERS: Final = frozenset(Meter)
_TOKENS: Final = frozenset((*INPUT_TOKENS, *OUTPUT_TOKENS))


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


def parse_put(request: pb.PutPriceRequest) -> tuple[Override, str]:
    """Returns what to price and how, and the audit id. Raises InvalidArgument."""
    checks = Checks()
    override = parse_override(checks, "price", request.price)
    audit_id = parse_audit_id(checks, request.audit_id)
    checks.raise_if_any()
    return override, audit_id


def parse_audit_id(checks: Checks, value: str) -> str:
    """Returns the id of the gateway's audit entry."""
    return checks.text("audit_id", value, max_length=AUDIT_ID_LENGTH_MAX)


def render_put(override: Override, entry: PriceEntry | None) -> pb.PutPriceResponse:
    """Renders the override as stored. One that takes effect later has no version yet."""
    if entry is not None:
        return pb.PutPriceResponse(price=render_price(entry), version=entry.since_version)
    message = _render(override.key, override.price)
    if override.effective_time is not None:
        message.effective_time.FromDatetime(override.effective_time)
    return pb.PutPriceResponse(price=message)


def parse_delete(request: pb.DeletePriceRequest) -> tuple[PriceKey, str]:
    """Returns which override to end, and the audit id. Raises InvalidArgument."""
    checks = Checks()
    key = parse_key(checks, "", request)
    audit_id = parse_audit_id(checks, request.audit_id)
    checks.raise_if_any()
    return key, audit_id


def render_price(entry: PriceEntry) -> price_pb2.ModelPrice:
    """Renders one price."""
    key = PriceKey(entry.provider, entry.model, entry.org, entry.operation)
    message = _render(key, entry.price)
    message.source = entry.source.value
    message.start_time.FromDatetime(entry.start_time)
    if entry.effective_time is not None:
        message.effective_time.FromDatetime(entry.effective_time)
    return message


def parse_override(checks: Checks, field: str, message: price_pb2.ModelPrice) -> Override:
    """Returns what a price is for, and the price. Violations go to `checks`."""
    key = parse_key(checks, f"{field}.", message)
    rates = _parse_rates(checks, f"{field}.meters", message.meters)
    if key.operation:
        if rates.keys() != {Meter.CALL}:
            checks.violate(f"{field}.meters", "a flat price has CALL and nothing else")
    else:
        missing = [meter.name for meter in REQUIRED_METERS if meter not in rates]
        if missing and (not rates or not _TOKENS.isdisjoint(rates)):
            names = " and ".join(missing)
            checks.violate(f"{field}.meters", f"list {names} too; what is free has price 0")
    if len(message.variants) > VARIANT_COUNT_MAX:
        checks.violate(f"{field}.variants", f"at most {VARIANT_COUNT_MAX} are allowed")
    variants = tuple(
        _parse_variant(checks, f"{field}.variants[{place}]", each)
        for place, each in enumerate(message.variants[:VARIANT_COUNT_MAX])
    )
    effective_time: dt.datetime | None = None
    if message.HasField("effective_time"):
        effective_time = parse_instant(checks, f"{field}.effective_time", message.effective_time)
    return Override(key, Price(rates, variants), effective_time)


def parse_overrides(checks: Checks, messages: Sequence[price_pb2.ModelPrice]) -> list[Override]:
    """Returns overrides that take effect at once. Violations go to `checks`."""
    overrides = [
        parse_override(checks, f"prices[{place}]", each) for place, each in enumerate(messages)
    ]
    for place, override in enumerate(overrides):
        if override.effective_time is not None:
            checks.violate(
                f"prices[{place}].effective_time", "a set takes effect at once; leave it out"
            )
    return overrides


def parse_key(checks: Checks, prefix: str, message: Any) -> PriceKey:
    """Returns what a price is for. Violations go to `checks`."""
    operation = checks.text(
        f"{prefix}operation", message.operation, min_length=0, max_length=NAME_LENGTH_MAX
    )
    org = checks.text(f"{prefix}org", message.org, min_length=0, max_length=NAME_LENGTH_MAX)
    if operation:
        for name in ("provider", "model"):
            if getattr(message, name):
                checks.violate(f"{prefix}{name}", "a flat price is for any model: leave it empty")
        return PriceKey("", "", org, operation)
    return PriceKey(
        checks.text(
            f"{prefix}provider",
            message.provider,
            max_length=PROVIDER_LENGTH_MAX,
            pattern=_PROVIDER,
        ),
        checks.text(f"{prefix}model", message.model, max_length=NAME_LENGTH_MAX),
        org,
    )


def _parse_variant(checks: Checks, field: str, message: price_pb2.PriceVariant) -> Variant:
    checks.integer(
        f"{field}.start_minute", message.start_minute, minimum=0, maximum=MINUTES_PER_DAY - 1
    )
    checks.integer(f"{field}.end_minute", message.end_minute, minimum=0, maximum=MINUTES_PER_DAY)
    if not message.service_tier and message.start_minute == message.end_minute:
        checks.violate(field, "name a service tier, or a part of the day, or both")
    rates = _parse_rates(checks, f"{field}.meters", message.meters)
    if not message.meters:
        checks.violate(f"{field}.meters", "required: list the meters that cost something else")
    return Variant(
        rates=rates,
        service_tier=checks.text(
            f"{field}.service_tier",
            message.service_tier,
            min_length=0,
            max_length=SERVICE_TIER_LENGTH_MAX,
            pattern=SERVICE_TIER,
        ),
        start_minute=message.start_minute,
        end_minute=message.end_minute,
    )


def _parse_rates(
    checks: Checks, field: str, messages: Sequence[price_pb2.MeterPrice]
) -> dict[Meter, Rate]:
    found = len(checks.violations)
    rates = {
        Meter(message.meter): _parse_rate(checks, f"{field}[{place}]", message)
        for place, message in enumerate(messages)
        if _parse_meter(checks, f"{field}[{place}].meter", message.meter)
    }
    if len(rates) < len(messages) and len(checks.violations) == found:
        checks.violate(field, "list each meter once")
    return rates


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


def _render(key: PriceKey, price: Price) -> price_pb2.ModelPrice:
    return price_pb2.ModelPrice(
        provider=key.provider,
        model=key.model,
        org=key.org,
        operation=key.operation,
        meters=_render_rates(price.rates),
        variants=[
            price_pb2.PriceVariant(
                service_tier=variant.service_tier,
                start_minute=variant.start_minute,
                end_minute=variant.end_minute,
                meters=_render_rates(variant.rates),
            )
            for variant in price.variants
        ],
    )


def _render_rates(rates: Mapping[Meter, Rate]) -> Iterable[price_pb2.MeterPrice]:
    for meter, rate in rates.items():
        rendered = price_pb2.MeterPrice(
            meter=price_pb2.Meter.ValueType(meter.value), nanos_per_million=rate.nanos_per_million
        )
        for threshold, nanos in rate.tiers:
            rendered.tiers.add(input_token_threshold=threshold, nanos_per_million=nanos)
        yield rendered
