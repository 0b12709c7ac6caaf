"""`headgate prices`: what models cost, and overrides of that."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Final

import typer

from headgate.api.common.v1 import price_pb2
from headgate.api.gateway.v1 import admin_pb2
from headgate.cli import wording
from headgate.cli.config import WrongUse
from headgate.cli.output import Json, say, show_json, show_table
from headgate.cli.routes import parse_candidate
from headgate.cli.session import open_session
from headgate.money import format_usd, parse_usd

app = typer.Typer(name="prices", help="Prices and their overrides.", no_args_is_help=True)

_METERS: Final = {
    "input": price_pb2.METER_INPUT,
    "cache-read": price_pb2.METER_CACHE_READ,
    "cache-write-5m": price_pb2.METER_CACHE_WRITE_5M,
    "cache-write-1h": price_pb2.METER_CACHE_WRITE_1H,
    "output": price_pb2.METER_OUTPUT,
    "reasoning": price_pb2.METER_REASONING,
}

_Model = Annotated[str, typer.Argument(metavar="PROVIDER/MODEL", help="The model.")]
_Org = Annotated[str, typer.Option(help="Only for this org. Empty: for the platform.")]


@app.command("list")
def list_prices(
    context: typer.Context,
    provider: Annotated[str, typer.Option(help="Only this provider's.")] = "",
    json: Json = False,
) -> None:
    """Lists the prices in force by provider and model."""
    answer = open_session(context).collect(
        lambda admin: admin.ListPrices, admin_pb2.ListPricesRequest(provider=provider)
    )
    show_json(answer) if json else _show_prices(answer.prices)


@app.command("set")
def set_price(
    context: typer.Context,
    model: _Model,
    meter: Annotated[
        list[str],
        typer.Option(
            metavar="METER=USD",
            help=f"US dollars for a million tokens; repeat it. METER: {', '.join(_METERS)}.",
        ),
    ],
    org: _Org = "",
    json: Json = False,
) -> None:
    """Overrides a price. Meters that are left out cost what input or output does."""
    candidate = parse_candidate(model)
    price = price_pb2.ModelPrice(
        provider=candidate.provider,
        model=candidate.model,
        org=org,
        meters=[_parse_meter(each) for each in meter],
    )
    answer = open_session(context).ask(
        lambda admin: admin.PutPrice, admin_pb2.PutPriceRequest(price=price)
    )
    show_json(answer) if json else _show_prices([answer.price])


@app.command("delete")
def delete_price(
    context: typer.Context, model: _Model, org: _Org = "", json: Json = False
) -> None:
    """Ends an override: the catalogue's price holds again."""
    candidate = parse_candidate(model)
    answer = open_session(context).ask(
        lambda admin: admin.DeletePrice,
        admin_pb2.DeletePriceRequest(provider=candidate.provider, model=candidate.model, org=org),
    )
    show_json(answer) if json else say(f"The override of {model} is ended.")


def word_meter(price: price_pb2.MeterPrice) -> str:
    """Returns a meter and what a million of it costs."""
    name = wording.word(price_pb2.Meter.DESCRIPTOR, price.meter)
    tiers = "".join(
        f", above {tier.input_token_threshold:,} {format_usd(tier.nanos_per_million)}"
        for tier in price.tiers
    )
    return f"{name} {format_usd(price.nanos_per_million)}{f' ({tiers[2:]})' if tiers else ''}"


def _parse_meter(text: str) -> price_pb2.MeterPrice:
    name, _, amount = text.partition("=")
    if name not in _METERS or not amount:
        raise WrongUse(f"--meter: {text!r} is not METER=USD, such as input=0.15")
    try:
        nanos = parse_usd(amount)
    except ValueError as error:
        raise WrongUse(f"--meter: {error}") from None
    return price_pb2.MeterPrice(meter=_METERS[name], nanos_per_million=nanos)


def _show_prices(prices: Iterable[price_pb2.ModelPrice]) -> None:
    show_table(
        ["MODEL", "FOR", "USD FOR A MILLION TOKENS", "SOURCE", "SINCE"],
        [
            [
                f"{each.provider}/{each.model}",
                each.org or wording.PLATFORM,
                ", ".join(word_meter(meter) for meter in each.meters),
                each.source,
                wording.instant(each, "start_time"),
            ]
            for each in prices
        ],
        empty="There is no price.",
    )
