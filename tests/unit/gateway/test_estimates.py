"""What is held covers every bill that accounting could write."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.estimates import Rate, Tier, ceiling, worst_case_nanos
from services.accounting.domain import pricing
from services.accounting.domain.meters import INPUT_TOKENS, OUTPUT_TOKENS, Meter, MeterCounts
from services.accounting.domain.usage import Outcome

MILLION = 1_000_000
TOKENS = (*INPUT_TOKENS, *OUTPUT_TOKENS)

prices = st.integers(0, 10**9)
counts = st.integers(0, 5_000)


@st.composite
def rates(draw: st.DrawFn) -> pricing.Rate:
    thresholds = sorted(draw(st.sets(st.integers(1, 8_000), max_size=3)))
    return pricing.Rate(draw(prices), tuple((each, draw(prices)) for each in thresholds))


@st.composite
def price_lists(draw: st.DrawFn) -> pricing.Price:
    listed = draw(st.sets(st.sampled_from(list(Meter)))) | {Meter.INPUT, Meter.OUTPUT}
    return pricing.Price({meter: draw(rates()) for meter in sorted(listed, key=lambda m: m.value)})


def as_rate(rate: pricing.Rate) -> Rate:
    return Rate(
        nanos_per_million=rate.nanos_per_million,
        tiers=tuple(
            Tier(input_token_threshold=threshold, nanos_per_million=price)
            for threshold, price in rate.tiers
        ),
    )


@given(
    price=price_lists(),
    used=st.tuples(*[st.none() | counts] * len(TOKENS)),
    spare=st.tuples(counts, counts),
)
def test_no_bill_within_the_bounds_exceeds_the_hold(
    price: pricing.Price, used: tuple[int | None, ...], spare: tuple[int, int]
) -> None:
    meters = MeterCounts(
        **{meter.name.lower(): count for meter, count in zip(TOKENS, used, strict=True)}
    )
    inputs = sum(each or 0 for each in used[: len(INPUT_TOKENS)])
    outputs = sum(each or 0 for each in used[len(INPUT_TOKENS) :])
    listed = {meter: as_rate(rate) for meter, rate in price.rates.items()}
    each_call = price.rates.get(Meter.CALL)
    bound = ceiling(
        input_rates=[rate for meter, rate in listed.items() if meter in INPUT_TOKENS],
        output_rates=[rate for meter, rate in listed.items() if meter in OUTPUT_TOKENS],
        call_nanos=0 if each_call is None else -(-each_call.dearest // MILLION),
    )

    held = worst_case_nanos(
        bound,
        input_token_count_max=inputs + spare[0],
        output_token_count_max=outputs + spare[1],
    )

    bill = pricing.charge(price, outcome=Outcome.SUCCEEDED, meters=meters, held_nanos=0)
    assert bill.total_nanos <= held


def test_a_flat_price_is_held_to_the_nano() -> None:
    flat = ceiling(
        input_rates=[Rate(nanos_per_million=150 * MILLION)],
        output_rates=[Rate(nanos_per_million=600 * MILLION)],
    )

    held = worst_case_nanos(flat, input_token_count_max=900, output_token_count_max=300)

    assert held == 900 * 150 + 300 * 600


def test_a_fraction_of_a_nano_is_held_as_a_whole_one() -> None:
    cheap = ceiling(input_rates=[Rate(nanos_per_million=1)], output_rates=[])

    # One nano for the tokens, seven for the roundings of the other input meters.
    assert worst_case_nanos(cheap, input_token_count_max=1, output_token_count_max=9) == 1 + 7


def test_free_tokens_hold_nothing() -> None:
    free = ceiling(input_rates=[Rate(nanos_per_million=0)], output_rates=[])

    assert worst_case_nanos(free, input_token_count_max=10**8, output_token_count_max=10**8) == 0


def test_a_long_context_price_is_held_only_for_inputs_that_may_be_long() -> None:
    tiered = ceiling(
        input_rates=[
            Rate(
                nanos_per_million=MILLION,
                tiers=(Tier(input_token_threshold=200_000, nanos_per_million=2 * MILLION),),
            )
        ],
        output_rates=[],
    )

    def held(tokens: int) -> int:
        return worst_case_nanos(tiered, input_token_count_max=tokens, output_token_count_max=0)

    assert held(200_000) == 200_000
    assert held(200_001) == 400_002


def test_a_cheaper_tier_lowers_no_hold() -> None:
    discounted = ceiling(
        input_rates=[
            Rate(
                nanos_per_million=2 * MILLION,
                tiers=(
                    Tier(input_token_threshold=10, nanos_per_million=MILLION),
                    Tier(input_token_threshold=10, nanos_per_million=3 * MILLION),
                ),
            )
        ],
        output_rates=[],
    )

    def held(tokens: int) -> int:
        return worst_case_nanos(discounted, input_token_count_max=tokens, output_token_count_max=0)

    assert held(10) == 20
    assert held(11) == 33
