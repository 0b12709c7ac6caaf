"""What calls cost: each meter by itself, whole nano-dollars, never silently free."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.accounting.domain.meters import (
    INPUT_TOKENS,
    NO_METERS,
    REPORTED,
    UNIT_COUNT_MAX,
    Meter,
    MeterCounts,
)
from services.accounting.domain.pricing import (
    PRICE_MAX,
    AmountTooLargeError,
    Price,
    Rate,
    Variant,
    charge,
)
from services.accounting.domain.usage import AMOUNT_MAX, Charge, CostBasis, Outcome

PRICE = Price({Meter.INPUT: Rate(150_000_000), Meter.OUTPUT: Rate(600_000_000)})
EVERY_METER = Price({meter: Rate(meter.value * 10**9) for meter in Meter})

amounts = st.integers(0, 10**11)
counts = st.none() | st.integers(0, 10**6)
meter_counts = st.builds(MeterCounts, *[counts] * len(REPORTED))
tiers = st.dictionaries(st.integers(1, 10**6), amounts, max_size=3).map(
    lambda found: tuple(sorted(found.items()))
)
prices = st.fixed_dictionaries(
    {Meter.INPUT: st.builds(Rate, amounts, tiers), Meter.OUTPUT: st.builds(Rate, amounts, tiers)},
    optional={
        meter: st.builds(Rate, amounts, tiers)
        for meter in Meter
        if meter not in (Meter.INPUT, Meter.OUTPUT)
    },
).map(Price)


def total(price: Price | None, meters: MeterCounts) -> int:
    return charge(price, outcome=Outcome.SUCCEEDED, meters=meters, held_nanos=7).total_nanos


def test_a_call_costs_the_sum_of_its_meters() -> None:
    meters = MeterCounts(input=1_000, output=500)

    assert total(PRICE, meters) == 150_000 + 300_000


def test_every_meter_has_its_own_price() -> None:
    meters = MeterCounts(*range(1, 21))
    units = [(meter.value, meter.value * 1_000) for meter in REPORTED]

    # And the call by itself costs 21,000.
    assert total(EVERY_METER, meters) == sum(count * nanos for count, nanos in units) + 21_000
    assert total(EVERY_METER, MeterCounts(page=3)) == 3 * 19_000 + 21_000
    assert total(EVERY_METER, MeterCounts(page=0)) == 0


@pytest.mark.parametrize("meter", [each for each in INPUT_TOKENS if each is not Meter.INPUT])
def test_an_input_meter_without_a_price_costs_what_input_costs(meter: Meter) -> None:
    assert PRICE.rate(meter) == PRICE.rate(Meter.INPUT)


@pytest.mark.parametrize("meter", [Meter.REASONING, Meter.AUDIO_OUTPUT, Meter.IMAGE_OUTPUT])
def test_output_without_a_price_costs_what_output_costs(meter: Meter) -> None:
    assert PRICE.rate(meter) == PRICE.rate(Meter.OUTPUT)


def test_audio_and_images_from_a_cache_cost_what_is_read_from_a_cache() -> None:
    cached = Price({**PRICE.rates, Meter.CACHE_READ: Rate(9), Meter.AUDIO_INPUT: Rate(7)})

    assert PRICE.rate(Meter.AUDIO_CACHE_READ) == PRICE.rate(Meter.INPUT)
    assert cached.rate(Meter.AUDIO_CACHE_READ) == Rate(9)
    assert cached.rate(Meter.IMAGE_CACHE_READ) == Rate(9)


@pytest.mark.parametrize("meter", [Meter.IMAGE, Meter.AUDIO_MS, Meter.WEB_SEARCH, Meter.CALL])
def test_what_is_no_token_has_its_own_price_or_none(meter: Meter) -> None:
    assert PRICE.rate(meter) is None
    assert EVERY_METER.rate(meter) == Rate(meter.value * 10**9)


@pytest.mark.parametrize(("held_nanos", "expected"), [(9, 3_000), (5_000, 5_000)])
def test_a_meter_without_a_price_is_unknown_and_never_makes_a_call_cheaper(
    held_nanos: int, expected: int
) -> None:
    meters = MeterCounts(output=5, web_search=2)
    charged = charge(PRICE, outcome=Outcome.SUCCEEDED, meters=meters, held_nanos=held_nanos)

    assert charged == Charge(expected, CostBasis.HOLD, unpriced=True)


@pytest.mark.parametrize(
    ("nanos_per_million", "expected"),
    [(499_999, 0), (500_000, 1), (1_499_999, 1), (1_500_000, 2)],
)
def test_a_meter_is_rounded_half_up(nanos_per_million: int, expected: int) -> None:
    price = Price({Meter.INPUT: Rate(nanos_per_million), Meter.OUTPUT: Rate(0)})

    assert total(price, MeterCounts(input=1)) == expected


def test_each_meter_is_rounded_by_itself() -> None:
    price = Price({Meter.INPUT: Rate(400_000), Meter.OUTPUT: Rate(400_000)})

    assert total(price, MeterCounts(input=1, output=1)) == 0
    assert total(price, MeterCounts(input=2)) == 1


@pytest.mark.parametrize(
    ("input_count", "cached_count", "nanos"),
    [(200_000, 0, 1), (100_000, 100_000, 1), (200_001, 0, 2), (1, 200_000, 2), (400_001, 0, 3)],
)
def test_a_tier_holds_for_all_units_when_input_of_all_kinds_exceeds_it(
    input_count: int, cached_count: int, nanos: int
) -> None:
    rate = Rate(1_000_000, ((200_000, 2_000_000), (400_000, 3_000_000)))
    price = Price({Meter.INPUT: rate, Meter.OUTPUT: rate})
    meters = MeterCounts(input=input_count, cache_read=cached_count, output=10)

    assert total(price, meters) == nanos * (input_count + cached_count + 10)


def test_the_dearest_of_a_rate_may_be_its_base_or_a_tier() -> None:
    assert Rate(5).dearest == 5
    assert Rate(5, ((10, 9), (20, 7))).dearest == 9
    assert Rate(5, ((10, 1),)).dearest == 5


def test_a_free_model_costs_nothing_and_is_not_unpriced() -> None:
    free = Price({Meter.INPUT: Rate(0), Meter.OUTPUT: Rate(0)})
    charged = charge(free, outcome=Outcome.SUCCEEDED, meters=MeterCounts(input=5), held_nanos=9)

    assert charged == Charge(0, CostBasis.METERS, unpriced=False)


def test_usage_without_a_price_is_charged_at_the_hold_and_marked() -> None:
    charged = charge(None, outcome=Outcome.SUCCEEDED, meters=MeterCounts(input=5), held_nanos=9)

    assert charged == Charge(9, CostBasis.HOLD, unpriced=True)


@pytest.mark.parametrize("price", [PRICE, None])
@pytest.mark.parametrize("outcome", [Outcome.SUCCEEDED, Outcome.ABORTED])
def test_a_call_without_meters_that_may_have_cost_is_charged_at_the_hold(
    price: Price | None, outcome: Outcome
) -> None:
    charged = charge(price, outcome=outcome, meters=NO_METERS, held_nanos=9)

    assert charged == Charge(9, CostBasis.HOLD)


@pytest.mark.parametrize("price", [PRICE, None])
@pytest.mark.parametrize("outcome", [Outcome.PROVIDER_FAILED, Outcome.REJECTED, Outcome.THROTTLED])
def test_a_call_without_meters_that_failed_costs_nothing(
    price: Price | None, outcome: Outcome
) -> None:
    charged = charge(price, outcome=outcome, meters=NO_METERS, held_nanos=9)

    assert charged == Charge(0, CostBasis.NONE)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_call_whose_answer_did_not_come_in_time_is_charged_at_its_hold(outcome: Outcome) -> None:
    charged = charge(PRICE, outcome=outcome, meters=NO_METERS, held_nanos=9, unanswered=True)

    assert charged == Charge(9, CostBasis.HOLD)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_reported_meters_are_charged_whatever_the_outcome(outcome: Outcome) -> None:
    charged = charge(PRICE, outcome=outcome, meters=MeterCounts(output=5), held_nanos=9)

    assert charged == Charge(3_000, CostBasis.METERS)


def test_a_zero_is_reported_usage() -> None:
    charged = charge(PRICE, outcome=Outcome.SUCCEEDED, meters=MeterCounts(input=0), held_nanos=9)

    assert charged == Charge(0, CostBasis.METERS)


def test_usage_above_the_hold_is_charged_in_full() -> None:
    meters = MeterCounts(output=10**6)
    charged = charge(PRICE, outcome=Outcome.SUCCEEDED, meters=meters, held_nanos=9)

    assert charged.total_nanos == 600_000_000


def test_the_greatest_amount_is_charged_and_one_more_is_refused() -> None:
    price = Price({Meter.INPUT: Rate(PRICE_MAX), Meter.OUTPUT: Rate(1_000_000)})

    assert total(price, MeterCounts(input=UNIT_COUNT_MAX)) == AMOUNT_MAX
    with pytest.raises(AmountTooLargeError) as caught:
        total(price, MeterCounts(input=UNIT_COUNT_MAX, output=1))

    assert caught.value.meter is Meter.INPUT
    assert "INPUT" in str(caught.value)


def test_a_refused_amount_names_the_meter_that_costs_most() -> None:
    price = Price({Meter.INPUT: Rate(PRICE_MAX - 1), Meter.OUTPUT: Rate(PRICE_MAX)})

    with pytest.raises(AmountTooLargeError) as caught:
        total(price, MeterCounts(input=UNIT_COUNT_MAX, output=UNIT_COUNT_MAX))

    assert caught.value.meter is Meter.OUTPUT


@given(price=prices, meters=meter_counts)
def test_a_charge_is_the_exact_sum_of_rounded_meters(price: Price, meters: MeterCounts) -> None:
    threshold_count = sum(meters[meter - 1] or 0 for meter in INPUT_TOKENS)
    expected = 0
    is_complete = True
    used: list[tuple[Meter, int | None]] = [*zip(REPORTED, meters, strict=True)]
    if any(meters) and Meter.CALL in price.rates:
        used.append((Meter.CALL, 1))
    for meter, count in used:
        rate = price.rate(meter)
        if rate is None:
            is_complete = is_complete and not count
            continue
        nanos = rate.nanos_per_million
        for threshold, tier_nanos in rate.tiers:
            if threshold_count > threshold:
                nanos = tier_nanos
        exact = Decimal(count or 0) * nanos / 1_000_000
        expected += int(exact.quantize(Decimal(1), ROUND_HALF_UP))

    charged = charge(price, outcome=Outcome.SUCCEEDED, meters=meters, held_nanos=7)

    assert charged.unpriced is not is_complete
    if is_complete:
        assert charged.total_nanos == (expected if meters.reported else 7)
    else:
        assert charged.total_nanos == max(expected, 7)


@given(price=prices, meters=meter_counts, more=st.integers(1, 10**6))
def test_more_output_never_costs_less(price: Price, meters: MeterCounts, more: int) -> None:
    fewer = meters._replace(output=meters.output or 0)

    assert total(price, fewer._replace(output=(fewer.output or 0) + more)) >= total(price, fewer)


@pytest.mark.parametrize(
    ("tier", "minute", "expected"),
    [
        ("", 0, 3),
        ("batch", 0, 1),
        ("batch", 1_000, 1),
        ("flex", 0, 3),
        ("", 989, 7),
        ("", 990, 2),
        ("", 1_439, 2),
        ("", 29, 3),
        ("", 600, 7),
        ("", 599, 3),
    ],
)
def test_the_first_variant_that_fits_replaces_the_rates_that_it_has(
    tier: str, minute: int, expected: int
) -> None:
    price = Price(
        {Meter.INPUT: Rate(9_000_000), Meter.OUTPUT: Rate(3_000_000)},
        (
            Variant(rates={Meter.OUTPUT: Rate(1_000_000)}, service_tier="batch"),
            Variant(rates={Meter.OUTPUT: Rate(2_000_000)}, start_minute=990, end_minute=1_440),
            Variant(rates={Meter.OUTPUT: Rate(7_000_000)}, start_minute=600, end_minute=990),
        ),
    )
    charged = charge(
        price,
        outcome=Outcome.SUCCEEDED,
        meters=MeterCounts(input=1, output=1),
        held_nanos=0,
        service_tier=tier,
        minute=minute,
    )

    assert charged == Charge(9 + expected, CostBasis.METERS)


@pytest.mark.parametrize(
    ("minute", "expected"), [(989, False), (990, True), (1_439, True), (0, True), (30, False)]
)
def test_a_part_of_the_day_goes_over_midnight(minute: int, expected: bool) -> None:
    assert Variant(rates={}, start_minute=990, end_minute=30).fits("", minute) is expected
