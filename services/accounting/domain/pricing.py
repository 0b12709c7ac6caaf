"""What a call costs: each meter priced by itself, in whole nano-US-dollars.

A meter's cost is its units times the price of a million units, divided by a million and rounded
once, half up. Nothing is a float, and nothing is capped: what was used is booked, even above the
hold. If the call's input tokens of all kinds exceed a tier's threshold, all its units of that
meter take the tier's price; of several, the highest threshold that is exceeded decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.accounting.domain.meters import OUTPUT_TOKENS, REPORTED, Meter, MeterCounts
from services.accounting.domain.usage import AMOUNT_MAX, Charge, CostBasis, Outcome

# Prices are per this many units.
UNITS: Final = 1_000_000
# Nano-US-dollars per million units: one dollar a token. Dearer is a typing error.
PRICE_MAX: Final = 10**15
# Tiers of one meter. The catalogue's longest list is far below.
TIER_COUNT_MAX: Final = 16
# Every price of tokens lists these; other tokens without a price of their own use them.
REQUIRED_METERS: Final = (Meter.INPUT, Meter.OUTPUT)

# Tokens that have no price of their own are charged like others. What is not tokens is not.
_FALLBACKS: Final = {
    Meter.CACHE_READ: Meter.INPUT,
    Meter.CACHE_WRITE_5M: Meter.INPUT,
    Meter.CACHE_WRITE_1H: Meter.INPUT,
    Meter.AUDIO_INPUT: Meter.INPUT,
    Meter.AUDIO_CACHE_READ: Meter.CACHE_READ,
    Meter.IMAGE_INPUT: Meter.INPUT,
    Meter.IMAGE_CACHE_READ: Meter.CACHE_READ,
} | {meter: Meter.OUTPUT for meter in OUTPUT_TOKENS if meter is not Meter.OUTPUT}
# An outcome that may have cost money although nobody says how much.
_CHARGED_AT_HOLD: Final = frozenset({Outcome.SUCCEEDED, Outcome.ABORTED})


class AmountTooLargeError(Exception):
    """The call would cost more than AMOUNT_MAX; `meter` is the one that costs most."""

    def __init__(self, meter: Meter) -> None:
        super().__init__(f"{meter.name} costs more than {AMOUNT_MAX} nano-US-dollars")
        self.meter = meter


@dataclass(frozen=True, slots=True)
class Rate:
    """Price of one meter in nano-US-dollars per million units."""

    nanos_per_million: int
    # Pairs of input-token threshold and price, ascending by threshold.
    tiers: tuple[tuple[int, int], ...] = ()

    @property
    def dearest(self) -> int:
        """The highest of its prices."""
        return max(self.nanos_per_million, *(price for _, price in self.tiers), 0)

    def at(self, input_token_count: int) -> int:
        """Returns the price for a call with so many input tokens of all kinds."""
        price = self.nanos_per_million
        for threshold, tier_price in self.tiers:
            if input_token_count <= threshold:
                break
            price = tier_price
        return price


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What some meters cost in a tier of service, in a part of the day, or in both."""

    rates: Mapping[Meter, Rate]
    # Empty: any.
    service_tier: str = ""
    # Minutes of the day in UTC, from the first to before the last, over midnight if need be.
    # Both 0: any time.
    start_minute: int = 0
    end_minute: int = 0

    def fits(self, service_tier: str, minute: int) -> bool:
        """Whether it holds for a call billed in this tier and admitted in this minute."""
        if self.service_tier not in ("", service_tier):
            return False
        if self.start_minute == self.end_minute:
            return True
        if self.start_minute < self.end_minute:
            return self.start_minute <= minute < self.end_minute
        return minute >= self.start_minute or minute < self.end_minute


@dataclass(frozen=True, slots=True)
class Price:
    """Prices of a model's meters. One that prices any tokens has INPUT and OUTPUT."""

    rates: Mapping[Meter, Rate]
    # The first that fits a call replaces the rates that it has.
    variants: tuple[Variant, ...] = ()

    def variant_for(self, service_tier: str, minute: int) -> Price:
        """Returns the price of a call billed in this tier and admitted in this minute."""
        for variant in self.variants:
            if variant.fits(service_tier, minute):
                return Price({**self.rates, **variant.rates})
        return self

    def rate(self, meter: Meter) -> Rate | None:
        """Returns the meter's own rate, else the one it is charged like, else None: no price."""
        named: Meter | None = meter
        while named is not None:
            own = self.rates.get(named)
            if own is not None:
                return own
            named = _FALLBACKS.get(named)
        return None


def charge(
    price: Price | None,
    *,
    outcome: Outcome,
    meters: MeterCounts,
    held_nanos: int,
    service_tier: str = "",
    minute: int = 0,
    unanswered: bool = False,
) -> Charge:
    """Returns what a call costs. Raises AmountTooLargeError.

    Without meters, a call that may have been answered, though perhaps too late (`unanswered`), is
    charged at its hold, one that failed or was refused costs nothing. What was used and has no
    price is unknown, which is not zero: the call is charged at its hold, or at what has a price if
    that is more, and marked. `minute` is that of the admission, in the day in UTC.
    """
    if not meters.reported:
        if unanswered or outcome in _CHARGED_AT_HOLD:
            return Charge(held_nanos, CostBasis.HOLD)
        return Charge(0, CostBasis.NONE)
    if price is None:
        return Charge(held_nanos, CostBasis.HOLD, unpriced=True)
    if price.variants:
        price = price.variant_for(service_tier, minute)
    total, is_complete = _price_meters(price, meters)
    if not is_complete:
        return Charge(max(total, held_nanos), CostBasis.HOLD, unpriced=True)
    return Charge(total, CostBasis.METERS)


def _price_meters(price: Price, meters: MeterCounts) -> tuple[int, bool]:
    """Returns what the meters cost, and whether each of them has a price."""
    input_total = meters.input_total
    counts: list[tuple[Meter, int]] = [
        (meter, count) for meter, count in zip(REPORTED, meters, strict=True) if count
    ]
    if counts and Meter.CALL in price.rates:
        counts.append((Meter.CALL, 1))
    total, dearest, dearest_cost, is_complete = 0, Meter.INPUT, -1, True
    for meter, count in counts:
        rate = price.rate(meter)
        if rate is None:
            is_complete = False
            continue
        product = count * rate.at(input_total)
        cost = (2 * product + UNITS) // (2 * UNITS)
        total += cost
        if cost > dearest_cost:
            dearest, dearest_cost = meter, cost
    if total > AMOUNT_MAX:
        raise AmountTooLargeError(dearest)
    return total, is_complete
