"""What well-known models cost: by hand from the providers' price lists, and by another package.

Each line has US dollars for a million tokens as the provider's list says them: input, read from a
cache, written for five minutes, written for an hour, output, audio input. By hand a call costs the
sum of tokens x price / 1,000,000; a price of $0.15 is 150 nano-dollars for a token.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

import pytest

from services.accounting.catalogue import read_catalogue
from services.accounting.domain.meters import Meter, MeterCounts
from services.accounting.domain.pricing import Price, charge
from services.accounting.domain.usage import CostBasis, Outcome

DAY: Final = dt.date(2026, 11, 1)
LISTS: Final = """
openai    gpt-4o                   2.50   1.25   -      -     10     -
openai    gpt-4o-mini              0.15   0.075  -      -     0.60   -
openai    gpt-4.1                  2      0.50   -      -     8      -
openai    gpt-4.1-mini             0.40   0.10   -      -     1.60   -
openai    gpt-4.1-nano             0.10   0.025  -      -     0.40   -
openai    o1                       15     7.50   -      -     60     -
openai    o3                       2      0.50   -      -     8      -
openai    o3-mini                  1.10   0.55   -      -     4.40   -
openai    o4-mini                  1.10   0.275  -      -     4.40   -
openai    gpt-5                    1.25   0.125  -      -     10     -
openai    gpt-5-mini               0.25   0.025  -      -     2      -
openai    gpt-5-nano               0.05   0.005  -      -     0.40   -
openai    gpt-4-turbo              10     -      -      -     30     -
openai    gpt-3.5-turbo            0.50   -      -      -     1.50   -
openai    text-embedding-3-small   0.02   -      -      -     -      -
openai    text-embedding-3-large   0.13   -      -      -     -      -
anthropic claude-3-5-haiku-latest  0.80   0.08   1      1.60  4      -
anthropic claude-sonnet-4-0        3      0.30   3.75   6     15     -
anthropic claude-sonnet-4-5        3      0.30   3.75   6     15     -
anthropic claude-haiku-4-5         1      0.10   1.25   2     5      -
anthropic claude-opus-4-0          15     1.50   18.75  30    75     -
anthropic claude-opus-4-1          15     1.50   18.75  30    75     -
anthropic claude-opus-4-5          5      0.50   6.25   10    25     -
google    gemini-2.5-pro           1.25   0.125  -      -     10     -
google    gemini-2.5-flash         0.30   0.03   -      -     2.50   1
google    gemini-2.5-flash-lite    0.10   0.01   -      -     0.40   0.30
google    gemini-2.0-flash         0.10   0.025  -      -     0.40   0.70
google    gemini-2.0-flash-lite    0.075  -      -      -     0.30   -
cohere    command-r-plus           2.50   -      -      -     10     -
cohere    command-r                0.15   -      -      -     0.60   -
x-ai      grok-3                   3      0.75   -      -     15     -
x-ai      grok-3-mini              0.30   0.075  -      -     0.50   -
x-ai      grok-4                   3      0.75   -      -     15     -
groq      llama-3.1-8b-instant     0.05   -      -      -     0.08   -
groq      llama-3.3-70b-versatile  0.59   -      -      -     0.79   -
mistral   open-mistral-nemo        0.15   -      -      -     0.15   -
"""
METERS: Final = (
    Meter.INPUT,
    Meter.CACHE_READ,
    Meter.CACHE_WRITE_5M,
    Meter.CACHE_WRITE_1H,
    Meter.OUTPUT,
    Meter.AUDIO_INPUT,
)
# Tokens of the call that is priced, below every threshold of a tier.
TOKENS: Final = (61_803, 31_415, 2_718, 1_414, 1_732, 777)
ROWS: Final = [line.split() for line in LISTS.strip().splitlines()]


@pytest.fixture(scope="module")
def catalogue() -> dict[tuple[str, str], Price]:
    return {(each.provider, each.model): each.price for each in read_catalogue(DAY).prices}


def listed(row: list[str]) -> dict[Meter, tuple[int, Decimal]]:
    """The call's tokens and the price of each meter that the list has."""
    columns = zip(METERS, TOKENS, row[2:], strict=True)
    return {meter: (tokens, Decimal(usd)) for meter, tokens, usd in columns if usd != "-"}


def cost(price: Price, tokens: Mapping[Meter, int]) -> int:
    counts = MeterCounts(**{meter.name.lower(): count for meter, count in tokens.items()})
    charged = charge(price, outcome=Outcome.SUCCEEDED, meters=counts, held_nanos=0)
    assert charged.basis is CostBasis.METERS
    return charged.total_nanos


def test_there_are_at_least_thirty() -> None:
    assert len({(provider, model) for provider, model, *_ in ROWS}) >= 30


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}/{row[1]}")
def test_a_known_model_costs_what_its_list_says(
    row: list[str], catalogue: dict[tuple[str, str], Price]
) -> None:
    by_meter = listed(row)
    tokens_by_meter = {meter: tokens for meter, (tokens, _) in by_meter.items()}
    # Dollars for a million tokens are micro-dollars for one: a thousand nano-dollars.
    by_hand = sum(tokens * usd * 1_000 for tokens, usd in by_meter.values())

    price = catalogue[row[0], row[1]]
    assert by_hand == cost(price, tokens_by_meter)
    for meter, (tokens, usd) in by_meter.items():
        assert cost(price, {meter: tokens}) == tokens * usd * 1_000


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row[0]}/{row[1]}")
def test_a_known_model_costs_what_another_package_says(
    row: list[str], catalogue: dict[tuple[str, str], Price]
) -> None:
    from genai_prices import Usage, calc_price  # noqa: PLC0415 - large, and only the oracle here

    # The package knows one lifetime of a cache's entries.
    tokens: dict[Meter, int] = {
        meter: count
        for meter, (count, _) in listed(row).items()
        if meter is not Meter.CACHE_WRITE_1H
    }
    usage = Usage(
        input_tokens=sum(tokens.values()) - tokens.get(Meter.OUTPUT, 0),
        cache_audio_read_tokens=0,
        cache_read_tokens=tokens.get(Meter.CACHE_READ, 0),
        cache_write_tokens=tokens.get(Meter.CACHE_WRITE_5M, 0),
        input_audio_tokens=tokens.get(Meter.AUDIO_INPUT, 0),
        output_tokens=tokens.get(Meter.OUTPUT, 0),
    )
    noon = dt.datetime.combine(DAY, dt.time(12), dt.UTC)
    theirs = calc_price(
        usage, model_ref=row[1], provider_id=row[0], genai_request_timestamp=noon
    ).total_price

    assert cost(catalogue[row[0], row[1]], tokens) == theirs * 10**9


@pytest.mark.parametrize(
    ("inputs", "outputs", "dollars"),
    [
        # Up to 200,000 tokens of input: 0.2 x $1.25 + 0.001 x $10.
        (200_000, 1_000, "0.26"),
        # One more, and every token is dearer: 0.200001 x $2.50 + 0.001 x $15.
        (200_001, 1_000, "0.5150025"),
    ],
)
def test_long_contexts_are_dearer_as_a_whole(
    inputs: int, outputs: int, dollars: str, catalogue: dict[tuple[str, str], Price]
) -> None:
    found = cost(
        catalogue["google", "gemini-2.5-pro"], {Meter.INPUT: inputs, Meter.OUTPUT: outputs}
    )

    assert found == Decimal(dollars) * 10**9


def test_a_search_is_charged_by_itself(catalogue: dict[tuple[str, str], Price]) -> None:
    # Ten dollars for a thousand searches are one cent each.
    price = catalogue["anthropic", "claude-sonnet-4-5"]

    assert cost(price, {Meter.WEB_SEARCH: 3}) == 30_000_000
