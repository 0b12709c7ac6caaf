"""`headgate books` and `headgate export`: corrections, bills, and usage written out."""

from __future__ import annotations

import enum
import sys
from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated, Final

import typer
from google.protobuf.timestamp_pb2 import Timestamp

from headgate.api.common.v1 import book_pb2
from headgate.api.gateway.v1 import book_admin_pb2 as pb
from headgate.api.gateway.v1 import book_admin_pb2_grpc as pb_grpc
from headgate.cli.config import WrongUse
from headgate.cli.output import Json, say, show_json, show_table
from headgate.cli.session import open_session
from headgate.money import format_usd

app = typer.Typer(name="books", help="Corrections of what is booked.", no_args_is_help=True)
export_app = typer.Typer(name="export", help="Policies in force, or what is booked, as files.")


class Format(str, enum.Enum):
    """How usage is written out."""

    CSV = "csv"
    JSON_LINES = "json-lines"
    FOCUS_CSV = "focus-csv"


class BillFormat(str, enum.Enum):
    """How a bill is written."""

    OPENAI_COSTS = "openai-costs"
    ANTHROPIC_COSTS = "anthropic-costs"
    CSV = "csv"


_Start = Annotated[str, typer.Option("--from", metavar="DAY", help="First day in UTC.")]
_End = Annotated[str, typer.Option("--to", metavar="DAY", help="Last day in UTC.")]
_Org = Annotated[str, typer.Option(help="Only this org's.")]
_BillPath = Annotated[Path, typer.Argument(help="The bill, as the provider wrote it.")]
_BASIS_POINTS: Final = 100


@export_app.command("usage")
def export_usage(
    context: typer.Context,
    *,
    start: _Start,
    end: _End,
    org: _Org = "",
    form: Annotated[Format, typer.Option("--format", help="How it is written.")] = Format.CSV,
    output: Annotated[
        Path | None, typer.Option(help="File to write, else the standard output.")
    ] = None,
) -> None:
    """Writes usage out, with its progress on the standard error."""
    first, after = _interval(start, end)
    request = pb.ExportUsageRequest(
        format=book_pb2.ExportFormat.Value(f"EXPORT_FORMAT_{form.name}"),
        start_time=first,
        end_time=after,
        org=org,
    )
    file = output.open("wb") if output else sys.stdout.buffer

    def take(part: pb.ExportUsageResponse) -> None:
        file.write(part.data)
        print(f"\r{part.row_count:,} of {part.total_count:,} rows", end="", file=sys.stderr)

    try:
        open_session(context).stream_at(
            pb_grpc.BookAdminServiceStub, lambda books: books.ExportUsage, request, take
        )
    finally:
        print(file=sys.stderr)
        file.flush()
        if output:
            file.close()


@app.command("adjust")
def adjust(
    context: typer.Context,
    org: Annotated[str, typer.Argument(help="Org of the call.")],
    call_id: Annotated[str, typer.Argument(help="Id of the call.")],
    *,
    nanos: Annotated[int, typer.Option(help="Nano-US-dollars to add; negative for a credit.")],
    note: Annotated[str, typer.Option(help="Why.")],
    json: Json = False,
) -> None:
    """Adds to a call's total, or takes from it."""
    request = pb.AdjustUsageRequest(org=org, call_id=call_id, delta_nanos=nanos, note=note)
    answer: pb.AdjustUsageResponse = open_session(context).ask_at(
        pb_grpc.BookAdminServiceStub,
        lambda books: books.AdjustUsage,
        request,
        # Every request is an adjustment of its own.
        repeatable=False,
    )
    total = format_usd(answer.total_nanos)
    show_json(answer) if json else say(f"The call is booked with {total} now.")


@app.command("reprice")
def reprice(
    context: typer.Context,
    *,
    start: _Start,
    end: _End,
    org: _Org = "",
    provider: Annotated[str, typer.Option(help="Only this provider's.")] = "",
    model: Annotated[str, typer.Option(help="Only this model's.")] = "",
    apply: Annotated[
        int, typer.Option(metavar="VERSION", help="Book it; the version of the dry run.")
    ] = 0,
    json: Json = False,
) -> None:
    """Prices calls again, by what was effective when they were admitted. Else a dry run."""
    first, after = _interval(start, end)
    request = pb.RepriceRequest(
        start_time=first,
        end_time=after,
        org=org,
        provider=provider,
        model=model,
        apply=apply > 0,
        expected_version=apply,
    )
    answer: pb.RepriceResponse = open_session(context).ask_at(
        pb_grpc.BookAdminServiceStub, lambda books: books.Reprice, request
    )
    if json:
        show_json(answer)
        return
    show_table(
        ["MODEL", ">CALLS", ">CHANGED", ">UNPRICED", ">BEFORE", ">AFTER"],
        [
            [
                f"{each.provider}/{each.model}" if each.provider else "total",
                f"{each.call_count:,}",
                f"{each.changed_count:,}",
                f"{each.unpriced_count:,}",
                format_usd(each.before_nanos),
                format_usd(each.after_nanos),
            ]
            for each in [*answer.models, answer.total]
        ],
        empty="No call was priced by meters then.",
        footer=True,
    )
    if not apply:
        say(f"Nothing is changed yet: repeat it with --apply {answer.version}.")


@app.command("reconcile")
def reconcile(
    context: typer.Context,
    provider: Annotated[str, typer.Argument(help="Provider's registered name.")],
    bill: _BillPath,
    *,
    form: Annotated[BillFormat, typer.Option("--format", help="How the bill is written.")],
    org: _Org = "",
    json: Json = False,
) -> None:
    """Compares a provider's bill with what is booked; more than 1 % is an alert."""
    request = pb.ReconcileBillRequest(
        provider=provider,
        content=_read(bill),
        format=book_pb2.BillFormat.Value(f"BILL_FORMAT_{form.name}"),
        org=org,
    )
    answer: pb.ReconcileBillResponse = open_session(context).ask_at(
        pb_grpc.BookAdminServiceStub, lambda books: books.ReconcileBill, request
    )
    show_json(answer) if json else _show_deviations([*answer.deviations, answer.total])


def _show_deviations(deviations: Sequence[book_pb2.Deviation]) -> None:
    show_table(
        ["DAY", "MODEL", ">BILLED", ">BOOKED", ">DIFFERENCE", ">PERCENT", "VERDICT"],
        [
            [
                each.day or "total",
                each.model,
                format_usd(each.billed_nanos),
                format_usd(each.booked_nanos),
                format_usd(each.difference_nanos),
                f"{each.difference_basis_points / _BASIS_POINTS:.2f}"
                if each.HasField("difference_basis_points")
                else "",
                "differs" if each.exceeds else "agrees",
            ]
            for each in deviations
        ],
        empty="",
        footer=True,
    )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise WrongUse(f"{path}: {error.strerror}") from None


def _interval(start: str, end: str) -> tuple[Timestamp, Timestamp]:
    first, last = _midnight("--from", start), _midnight("--to", end)
    found = Timestamp(), Timestamp()
    found[0].FromDatetime(first)
    found[1].FromDatetime(last + timedelta(days=1))
    return found


def _midnight(option: str, text: str) -> datetime:
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise WrongUse(f"{option}: {text!r} is not a day; write it like 2026-11-30") from None
    return datetime(day.year, day.month, day.day, tzinfo=timezone.utc)
