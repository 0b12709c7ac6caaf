"""`headgate prices`: what models cost, and overrides of that."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Final

import typer

from headgate.api.common.v1 import price_pb2
from headgate.api.gateway.v1 import admin_pb2, book_admin_pb2, book_admin_pb2_grpc
from headgate.cli import price_files, wording
from headgate.cli.config import WrongUse
from headgate.cli.output import Json, say, show_json, show_table
from headgate.cli.routes import parse_candidate
from headgate.cli.session import open_session
from headgate.money import format_usd, parse_usd

app = typer.Typer(name="prices", help="Prices and their overrides.", no_args_is_help=True)

_METERS: Final = price_files.METERS

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
            help=f"US dollars for a million of it; repeat it. METER: {', '.join(_METERS)}.",
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


@app.command("import")
def import_prices(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(metavar="FILE", help="YAML; see `docs/operations.md`.")],
    *,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the file, and change nothing.")
    ] = False,
    json: Json = False,
) -> None:
    """Overrides the prices of a file: all of them, or none if one is wrong."""
    try:
        prices = price_files.read_prices(path.read_text())
    except OSError as error:
        raise WrongUse(f"{path}: {error.strerror}") from None
    except (price_files.BadPriceFileError, UnicodeDecodeError) as error:
        raise WrongUse(f"{path}: {error}") from None
    answer: book_admin_pb2.ImportPricesResponse = open_session(context).ask_at(
        book_admin_pb2_grpc.BookAdminServiceStub,
        lambda books: books.ImportPrices,
        book_admin_pb2.ImportPricesRequest(prices=prices, validate_only=dry_run),
    )
    changed, same = answer.changed_count, answer.unchanged_count
    done = "would change" if dry_run else "changed"
    words = f"{changed} prices {done}, {same} are so already; the book's version is"
    show_json(answer) if json else say(f"{words} {answer.version}.")


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
    return price_pb2.MeterPrice(
        meter=price_pb2.Meter.ValueType(_METERS[name]), nanos_per_million=nanos
    )


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
