"""The shipped price catalogue, as prices of our meters."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import pytest
from genai_prices import data
from genai_prices.types import (
    ClauseContains,
    ClauseEquals,
    ClauseOr,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    Provider,
    StartDateConstraint,
    Tier,
    TieredPrices,
    TimeOfDateConstraint,
)
from hypothesis import given
from hypothesis import strategies as st

from services.accounting.catalogue import (
    BadPriceError,
    Catalogue,
    convert_price,
    read_catalogue,
)
from services.accounting.domain.meters import Meter, MeterCounts
from services.accounting.domain.pricing import (
    PRICE_MAX,
    TIER_COUNT_MAX,
    Price,
    Rate,
    charge,
)
from services.accounting.domain.usage import Outcome

DAY = dt.date(2026, 6, 1)


def dollars(input_mtok: str, output_mtok: str, **others: Any) -> ModelPrice:
    return ModelPrice(input_mtok=Decimal(input_mtok), output_mtok=Decimal(output_mtok), **others)


def model(name: str, prices: Any, *clauses: Any) -> ModelInfo:
    return ModelInfo(
        id=name, match=ClauseOr(or_=[ClauseEquals(equals=name), *clauses]), prices=prices
    )


@pytest.fixture
def shipped(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the package ship these models instead of its own."""

    def ship(*models: ModelInfo) -> None:
        provider = Provider(id="p", name="P", api_pattern="p", models=list(models))
        monkeypatch.setattr(data, "providers", [provider])

    return ship


def read() -> dict[str, int]:
    return {
        each.model: each.price.rates[Meter.INPUT].nanos_per_million
        for each in read_catalogue(DAY).prices
    }


@pytest.fixture(scope="module")
def real() -> Catalogue:
    return read_catalogue(DAY)


def test_the_shipped_catalogue_has_no_bad_price_and_each_model_once(real: Catalogue) -> None:
    names = [(each.provider, each.model) for each in real.prices]

    assert real.rejected == ()
    assert len(names) > 2_000
    assert len(names) == len(set(names))
    assert names == sorted(names)


def test_a_known_model_has_its_published_price(real: Catalogue) -> None:
    prices = {(each.provider, each.model): each.price for each in real.prices}

    expected = Price(
        {
            Meter.INPUT: Rate(150_000_000),
            Meter.CACHE_READ: Rate(75_000_000),
            Meter.OUTPUT: Rate(600_000_000),
            Meter.WEB_SEARCH: Rate(10_000_000_000_000),
            Meter.FILE_SEARCH: Rate(2_500_000_000_000),
        }
    )
    assert prices["openai", "gpt-4o-mini"] == expected
    assert prices["openai", "gpt-4o-mini-2024-07-18"] == expected


@given(
    place=st.integers(0, 10**9),
    counts=st.tuples(*[st.integers(0, 400_000)] * 3),
)
def test_a_charge_agrees_with_the_package_that_ships_the_price(
    place: int, counts: tuple[int, int, int]
) -> None:
    from genai_prices import Usage  # noqa: PLC0415 - the oracle, and nothing else here

    models = [m for p in data.providers for m in p.models if isinstance(m.prices, ModelPrice)]
    offered = models[place % len(models)].prices
    assert isinstance(offered, ModelPrice)
    price = convert_price(offered)
    if price is None or "requests_kcount" in offered.__dict__:
        return
    uncached, cached, output = counts
    usage = Usage(input_tokens=uncached + cached, cache_read_tokens=cached, output_tokens=output)
    expected = offered.calc_price(usage)["total_price"] * 10**9

    charged = charge(
        price,
        outcome=Outcome.SUCCEEDED,
        meters=MeterCounts(input=uncached, cache_read=cached, output=output),
        held_nanos=0,
    )

    # Prices are whole nano-dollars per million, rounded up; each meter is rounded once.
    assert abs(charged.total_nanos - expected) <= 4


def test_cache_writes_without_a_price_for_an_hour_cost_what_any_write_costs() -> None:
    price = convert_price(dollars("1", "2", cache_write_mtok=Decimal("1.25")))

    assert price is not None
    assert (
        price.rates[Meter.CACHE_WRITE_5M]
        == price.rates[Meter.CACHE_WRITE_1H]
        == Rate(1_250_000_000)
    )


def test_a_fraction_of_a_nano_is_rounded_up() -> None:
    price = convert_price(dollars("0.0000000001", "0"))

    assert price == Price({Meter.INPUT: Rate(1), Meter.OUTPUT: Rate(0)})


def test_tiers_are_kept() -> None:
    tiered = TieredPrices(base=Decimal(1), tiers=[Tier(start=200_000, price=Decimal(2))])

    price = convert_price(ModelPrice(input_mtok=tiered, output_mtok=Decimal(3)))

    assert price is not None
    assert price.rates[Meter.INPUT] == Rate(10**9, ((200_000, 2 * 10**9),))


def test_an_embedding_puts_out_nothing_that_costs() -> None:
    price = convert_price(ModelPrice(input_mtok=Decimal("0.02")))

    assert price == Price({Meter.INPUT: Rate(20_000_000), Meter.OUTPUT: Rate(0)})


@pytest.mark.parametrize(
    "offered",
    [
        ModelPrice(),
        ModelPrice(web_searches_kcount=Decimal(10)),
        ModelPrice(output_mtok=Decimal(1)),
        ModelPrice(input_mtok=Decimal(1), output_video_mtok=Decimal(30)),
    ],
)
def test_what_has_no_price_in_our_meters_is_unpriced_and_not_free(offered: ModelPrice) -> None:
    assert convert_price(offered) is None


@pytest.mark.parametrize(
    "bad",
    [
        Decimal(-1),
        Decimal("NaN"),
        Decimal("Infinity"),
        Decimal(PRICE_MAX) / 10**9 + 1,
        TieredPrices(base=Decimal(1), tiers=[Tier(start=0, price=Decimal(1))]),
        TieredPrices(base=Decimal(1), tiers=[Tier(start=5, price=Decimal(-1))]),
        TieredPrices(base=Decimal(1), tiers=[Tier(start=5, price=Decimal(1))] * 2),
        TieredPrices(
            base=Decimal(1),
            tiers=[Tier(start=5 + n, price=Decimal(1)) for n in range(TIER_COUNT_MAX + 1)],
        ),
    ],
)
def test_a_price_out_of_bounds_is_refused(bad: Any) -> None:
    with pytest.raises(BadPriceError):
        convert_price(ModelPrice(input_mtok=bad, output_mtok=Decimal(1)))


def test_a_bad_price_costs_its_own_model_only(shipped: Any) -> None:
    shipped(model("bad", dollars("-1", "1")), model("good", dollars("1", "1")), model("x", []))
    data.providers[0].models[2].prices = ModelPrice()

    catalogue = read_catalogue(DAY)

    assert [each.model for each in catalogue.prices] == ["good"]
    assert catalogue.rejected == ("p/bad",)
    assert catalogue.unpriced_count == 1


def test_the_price_of_the_day_is_taken(shipped: Any) -> None:
    later = StartDateConstraint(start_date=DAY + dt.timedelta(days=1))
    now = StartDateConstraint(start_date=DAY)
    shipped(
        model(
            "m",
            [
                ConditionalPrice(prices=dollars("1", "1")),
                ConditionalPrice(now, prices=dollars("2", "2")),
                ConditionalPrice(later, prices=dollars("3", "3")),
            ],
        )
    )

    assert read() == {"m": 2 * 10**9}


@pytest.mark.parametrize("hourly", ["0.5", "3"])
def test_a_price_that_depends_on_the_hour_is_taken_at_its_dearest(
    shipped: Any, hourly: str
) -> None:
    night = TimeOfDateConstraint(start_time=dt.time(16, 30), end_time=dt.time(0, 30))
    shipped(
        model(
            "m",
            [
                ConditionalPrice(prices=dollars("1", "1")),
                ConditionalPrice(night, prices=dollars(hourly, hourly)),
            ],
        )
    )

    assert read() == {"m": max(10**9, int(Decimal(hourly) * 10**9))}


def test_a_models_other_names_have_its_price_unless_they_are_another_models(shipped: Any) -> None:
    shipped(
        model("a", dollars("1", "1"), ClauseEquals(equals="a-1"), ClauseEquals(equals="b")),
        model("b", dollars("2", "2"), ClauseEquals(equals="a-1"), ClauseContains(contains="z")),
    )

    assert read() == {"a": 10**9, "a-1": 10**9, "b": 2 * 10**9}


@pytest.mark.parametrize(
    ("offered", "expected"),
    [
        # $0.36 an hour is $0.1 for a million milliseconds: 0.36 x 1,000 s / 3,600 s.
        (ModelPrice(audio_hours=Decimal("0.36")), {Meter.AUDIO_MS: Rate(100_000_000)}),
        (ModelPrice(input_mchars=Decimal(15)), {Meter.CHARACTER: Rate(15_000_000_000)}),
        # $5 for a thousand calls is half a cent each.
        (ModelPrice(requests_kcount=Decimal(5)), {Meter.CALL: Rate(5_000_000_000_000)}),
        (ModelPrice(input_document_kpages=Decimal(1)), {Meter.PAGE: Rate(1_000_000_000_000)}),
        (
            ModelPrice(input_mtok=Decimal(5), output_image_mtok=Decimal(40)),
            {
                Meter.INPUT: Rate(5_000_000_000),
                Meter.IMAGE_OUTPUT: Rate(40_000_000_000),
                Meter.OUTPUT: Rate(40_000_000_000),
            },
        ),
    ],
)
def test_other_units_become_millions_of_our_meters(
    offered: ModelPrice, expected: dict[Meter, Rate]
) -> None:
    assert convert_price(offered) == Price(expected)
