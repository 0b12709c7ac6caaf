"""Files of prices are read as they are written, or refused with every place that is wrong."""

from __future__ import annotations

import pytest

from headgate.api.common.v1 import price_pb2
from headgate.cli.price_files import METERS, BadPriceFileError, read_prices

FILE = """
prices:
  - provider: openai
    model: gpt-4o-mini
    org: acme
    meters:
      input: 0.15
      output: {usd: "0.60", above: {200000: 0.9}}
    variants:
      - tier: batch
        meters: {input: 0.075}
      - from: "16:30"
        to: "00:30"
        meters: {output: 0.000000001}
  - operation: draw
    flat: 0.04
"""


def test_a_file_becomes_prices_to_the_nano() -> None:
    model, flat = read_prices(FILE)

    assert (model.provider, model.model, model.org) == ("openai", "gpt-4o-mini", "acme")
    assert [(each.meter, each.nanos_per_million) for each in model.meters] == [
        (price_pb2.METER_INPUT, 150_000_000),
        (price_pb2.METER_OUTPUT, 600_000_000),
    ]
    (tier,) = model.meters[1].tiers
    assert (tier.input_token_threshold, tier.nanos_per_million) == (200_000, 900_000_000)
    batch, night = model.variants
    assert (batch.service_tier, batch.meters[0].nanos_per_million) == ("batch", 75_000_000)
    assert (night.start_minute, night.end_minute) == (990, 30)
    assert night.meters[0].nanos_per_million == 1
    assert flat.operation == "draw"
    assert [(each.meter, each.nanos_per_million) for each in flat.meters] == [
        (price_pb2.METER_CALL, 40_000_000_000_000)
    ]


def test_every_meter_of_the_contract_has_a_name() -> None:
    assert len(METERS) == len(price_pb2.Meter.values()) - 1
    assert METERS["cache-write-5m"] == price_pb2.METER_CACHE_WRITE_5M


WRONG = """
prices:
  - provider: [a]
    colour: red
    meters: {input: much, sound: 1, output: {usd: 1, above: {many: 2}}}
    variants: [{from: "25:00", meters: 7}, 8]
  - nine
  - {variants: 1, flat: .nan}
"""


def test_a_wrong_file_names_every_place() -> None:
    with pytest.raises(BadPriceFileError) as caught:
        read_prices(WRONG)

    places = [line.partition(": ")[0] for line in str(caught.value).splitlines()]
    assert places == [
        "prices[0].colour",
        "prices[0].provider",
        "prices[0].meters.sound",
        "prices[0].meters.input",
        "prices[0].meters.output.above",
        "prices[0].variants[0].from",
        "prices[0].variants[0].meters",
        "prices[0].variants[1]",
        "prices[1]",
        "prices[2].flat",
        "prices[2].variants",
    ]


@pytest.mark.parametrize("text", ["", "[]", "prices: 7", "prices: []", "{", "a: [", "!!python/x"])
def test_what_is_no_file_of_prices_is_refused(text: str) -> None:
    with pytest.raises(BadPriceFileError):
        read_prices(text)
