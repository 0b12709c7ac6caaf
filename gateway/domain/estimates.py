"""The most that a call can cost: what is held for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

# Prices are per so many tokens, or whatever a meter counts.
UNITS_PER_PRICE: Final = 1_000_000
# Greatest amount that can be held, in nano-US-dollars: sums of a few stay within 64 bits.
HOLD_NANOS_MAX: Final = 10**18
NO_UNITS: Final[Mapping[str, int]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    """A price for calls with more input tokens than a threshold."""

    input_token_threshold: int
    nanos_per_million: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What a million tokens of one meter cost."""

    nanos_per_million: int
    # For long inputs, in any order.
    tiers: tuple[Tier, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """The dearest rate of any meter once the input may exceed the threshold."""

    input_token_threshold: int
    nanos_per_million: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceiling:
    """The dearest price of one model, by the size of the input. Built once per price version."""

    # Ascending by threshold, prices ascending too. Empty: the tokens are free.
    input_steps: tuple[_Step, ...]
    output_steps: tuple[_Step, ...]
    # A bill rounds each meter by itself, so it may exceed the exact sum by as much.
    rounding_nanos: int
    # What any call costs besides, rounded up.
    call_nanos: int = 0
    # The dearest price of a million units of what is not tokens, by the names of the bounds.
    unit_nanos: Mapping[str, int] = field(default_factory=dict)
    # True: only these units cost anything, so a call must bound them all.
    is_by_units: bool = False

    def unbounded(self, unit_bounds: Mapping[str, int]) -> tuple[str, ...]:
        """Returns the units without whose bounds nobody knows what a call costs at most."""
        if not self.is_by_units:
            return ()
        return tuple(name for name in self.unit_nanos if name not in unit_bounds)


def ceiling(
    *,
    input_rates: Iterable[Rate],
    output_rates: Iterable[Rate],
    call_nanos: int = 0,
    unit_nanos: Mapping[str, int] = NO_UNITS,
    is_by_units: bool = False,
) -> Ceiling:
    """Builds the ceiling over a model's rates of input meters, output meters and other units."""
    inputs, outputs = tuple(input_rates), tuple(output_rates)
    fractional_count = sum(
        any(price % UNITS_PER_PRICE for price in _prices(rate)) for rate in inputs + outputs
    )
    # Unlisted meters are charged at a listed price, so they may round as well: 8 and 4 meters.
    if fractional_count:
        fractional_count = (8 if inputs else 0) + (4 if outputs else 0)
    return Ceiling(
        input_steps=_steps(inputs),
        output_steps=_steps(outputs),
        rounding_nanos=max(0, fractional_count - 1),
        call_nanos=call_nanos,
        unit_nanos=unit_nanos,
        is_by_units=is_by_units,
    )


def worst_case_nanos(
    ceiling: Ceiling,
    *,
    input_token_count_max: int,
    output_token_count_max: int,
    unit_bounds: Mapping[str, int] = NO_UNITS,
) -> int:
    """Returns the most that so many tokens and units can cost in nano-US-dollars, rounded up.

    Holds for every split of the tokens over the meters, cached or not, reasoning or not, and for
    bills that round each meter up by itself.
    """
    product = input_token_count_max * _dearest(ceiling.input_steps, input_token_count_max)
    product += output_token_count_max * _dearest(ceiling.output_steps, input_token_count_max)
    besides = ceiling.call_nanos
    if unit_bounds:
        # Each unit is a meter of its own, so each is rounded by itself.
        for name, price in ceiling.unit_nanos.items():
            besides -= -unit_bounds.get(name, 0) * price // UNITS_PER_PRICE
    if not product:
        return besides
    return -(-product // UNITS_PER_PRICE) + ceiling.rounding_nanos + besides


def _prices(rate: Rate) -> Iterable[int]:
    yield rate.nanos_per_million
    for tier in rate.tiers:
        yield tier.nanos_per_million


def _steps(rates: tuple[Rate, ...]) -> tuple[_Step, ...]:
    # A tier below the base price is no ceiling: a shorter input would pay the base price.
    offers = [(0, rate.nanos_per_million) for rate in rates]
    offers += [
        (tier.input_token_threshold, tier.nanos_per_million)
        for rate in rates
        for tier in rate.tiers
    ]
    steps: list[_Step] = []
    for threshold, price in sorted(offers):
        if steps and price <= steps[-1].nanos_per_million:
            continue
        if steps and threshold == steps[-1].input_token_threshold:
            steps.pop()
        steps.append(_Step(input_token_threshold=threshold, nanos_per_million=price))
    return tuple(steps)


def _dearest(steps: tuple[_Step, ...], input_token_count_max: int) -> int:
    dearest = 0
    for step in steps:
        # The first step holds for the empty input too.
        if step.input_token_threshold and step.input_token_threshold >= input_token_count_max:
            break
        dearest = step.nanos_per_million
    return dearest
