"""What a price list lets a call cost at most."""

from __future__ import annotations

from gateway.domain.calls import Candidate
from gateway.domain.estimates import worst_case_nanos
from gateway.prices import build_book
from headgate.api.common.v1 import price_pb2
from tests.unit.gateway.calls import ANTHROPIC, OPENAI
from tests.unit.gateway.test_copies import price


async def test_a_book_knows_the_dearest_that_a_call_can_meet() -> None:
    book = await build_book(3, [price(), price(org="acme", nanos=100)])
    ceiling = book.find("globex", OPENAI, "chat")
    assert ceiling is not None

    def held(inputs: int, outputs: int) -> int:
        return worst_case_nanos(
            ceiling, input_token_count_max=inputs, output_token_count_max=outputs
        )

    assert held(1_000, 10) == 1_000 * 150 + 10 * 600
    assert held(1_001, 10) == 1_001 * 300 + 10 * 600


async def test_a_variant_and_a_price_for_the_call_count_towards_the_dearest() -> None:
    dear = price()
    dear.variants.add(service_tier="priority").meters.add(
        meter=price_pb2.METER_OUTPUT, nanos_per_million=900_000_000
    )
    dear.meters.add(meter=price_pb2.METER_CALL, nanos_per_million=5_000_001)
    ceiling = (await build_book(3, [dear])).find("acme", OPENAI, "chat")

    assert ceiling is not None
    held = worst_case_nanos(ceiling, input_token_count_max=0, output_token_count_max=10)
    # A part of a nano is held as a whole one.
    assert held == 10 * 900 + 6


async def test_a_model_that_is_priced_by_units_alone_is_bounded_by_them() -> None:
    by_time = price_pb2.ModelPrice(provider="openai", model="whisper-1")
    by_time.meters.add(meter=price_pb2.METER_AUDIO_MS, nanos_per_million=100_000_000_001)
    by_time.meters.add(meter=price_pb2.METER_PAGE, nanos_per_million=7_000_000)
    by_time.variants.add(service_tier="flex").meters.add(
        meter=price_pb2.METER_PAGE, nanos_per_million=9_000_000
    )
    book = await build_book(3, [by_time])
    ceiling = book.find("acme", Candidate(provider="openai", model="whisper-1"), "chat")

    assert ceiling is not None
    assert ceiling.unbounded({}) == ("audio_ms", "page_count")
    assert ceiling.unbounded({"audio_ms": 1, "image_count": 3}) == ("page_count",)
    assert ceiling.unbounded({"audio_ms": 0, "page_count": 0}) == ()
    held = worst_case_nanos(
        ceiling,
        input_token_count_max=5,
        output_token_count_max=5,
        unit_bounds={"audio_ms": 10, "page_count": 2, "image_count": 3},
    )
    # A part of a nano is held as a whole one, of each unit by itself; tokens cost nothing here.
    assert held == 1_000_001 + 18


async def test_units_are_held_besides_tokens_and_calls_if_they_are_bounded() -> None:
    mixed = price()
    mixed.meters.add(meter=price_pb2.METER_WEB_SEARCH, nanos_per_million=10_000_000_000)
    mixed.meters.add(meter=price_pb2.METER_CALL, nanos_per_million=5_000_000)
    ceiling = (await build_book(3, [mixed])).find("acme", OPENAI, "chat")

    assert ceiling is not None
    assert ceiling.unbounded({}) == ()
    for bounds, more in (({}, 0), ({"web_search_count": 3}, 30_000), ({"image_count": 3}, 0)):
        held = worst_case_nanos(
            ceiling, input_token_count_max=10, output_token_count_max=0, unit_bounds=bounds
        )
        assert held == 10 * 150 + 5 + more


async def test_a_model_without_any_price_has_no_ceiling() -> None:
    assert not (await build_book(3, [price_pb2.ModelPrice(provider="x", model="y")])).platform


async def test_an_operations_flat_price_bounds_models_without_one() -> None:
    def flat(nanos: int, org: str = "") -> price_pb2.ModelPrice:
        meter = price_pb2.MeterPrice(meter=price_pb2.METER_CALL, nanos_per_million=nanos)
        return price_pb2.ModelPrice(operation="chat", org=org, meters=[meter])

    token = price_pb2.MeterPrice(meter=price_pb2.METER_INPUT, nanos_per_million=7_000_000)
    priced = price_pb2.ModelPrice(provider=OPENAI.provider, model=OPENAI.model, meters=[token])
    book = await build_book(3, [priced, flat(5_000_000), flat(0, "globex")])

    def worst(org: str, candidate: Candidate, operation: str = "chat") -> int | None:
        found = book.find(org, candidate, operation)
        if found is None:
            return None
        return worst_case_nanos(found, input_token_count_max=10**6, output_token_count_max=0)

    assert worst("acme", OPENAI) == 7_000_000
    assert worst("acme", ANTHROPIC) == 5
    # Free is a price.
    assert worst("globex", ANTHROPIC) == 0
    assert worst("acme", ANTHROPIC, "other") is None
