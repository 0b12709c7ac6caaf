"""`headgate books` and `headgate export`: corrections, bills, and usage written out."""

from __future__ import annotations

import enum
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from headgate.api.common.v1 import book_pb2, call_pb2
from headgate.api.gateway.v1 import book_admin_pb2 as pb
from headgate.api.gateway.v1 import book_admin_pb2_grpc as pb_grpc
from headgate.cli.config import WrongUse
from headgate.cli.days import End, Start, interval
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
    OPENAI_USAGE = "openai-usage"
    ANTHROPIC_USAGE = "anthropic-usage"
    CSV = "csv"


_Org = Annotated[str, typer.Option(help="Only this org's.")]
_BillPath = Annotated[Path, typer.Argument(help="The bill, as the provider wrote it.")]
_BASIS_POINTS: Final = 100
# What the contract can carry; the gateway refuses what is absurd.
_COUNT_MAX: Final = 2**63 - 1


@export_app.command("usage")
def export_usage(
    context: typer.Context,
    *,
    start: Start,
    end: End,
    org: _Org = "",
    form: Annotated[Format, typer.Option("--format", help="How it is written.")] = Format.CSV,
    output: Annotated[
        Path | None, typer.Option(help="File to write, else the standard output.")
    ] = None,
) -> None:
    """Writes usage out, with its progress on the standard error."""
    first, after = interval(start, end)
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


@app.command("record")
def record(
    context: typer.Context,
    org: Annotated[str, typer.Argument(help="Org that used it.")],
    operation: Annotated[str, typer.Argument(help="What it was for.")],
    model: Annotated[str, typer.Argument(metavar="PROVIDER/MODEL", help="Where it went.")],
    *,
    at: Annotated[str, typer.Option(metavar="DAY", help="Day in UTC, at most 35 days ago.")],
    note: Annotated[str, typer.Option(help="Why it is booked by hand.")],
    meter: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=COUNT", help="Such as input_token_count=900; repeat it."),
    ] = None,
    nanos: Annotated[
        int | None, typer.Option(help="Its cost in nano-US-dollars; else by the meters.")
    ] = None,
    call_id: Annotated[
        str, typer.Option("--id", help="UUID under which it is booked once, else a new one.")
    ] = "",
    json: Json = False,
) -> None:
    """Books usage that no call reported, such as a batch that ran elsewhere."""
    provider, slash, name = model.partition("/")
    if not slash:
        raise WrongUse(f"{model!r} is not PROVIDER/MODEL, such as openai/gpt-4o-mini")
    usage = book_pb2.ManualUsage(
        call_id=call_id or str(uuid.uuid4()),
        org=org,
        operation=operation,
        candidate=call_pb2.Candidate(provider=provider, model=name),
        use_time=interval(at, at)[0],
        meters=_parse_meters(meter or []),
        total_nanos=nanos,
        note=note,
    )
    answer: pb.RecordManualUsageResponse = open_session(context).ask_at(
        pb_grpc.BookAdminServiceStub,
        lambda books: books.RecordManualUsage,
        pb.RecordManualUsageRequest(usage=usage),
    )
    if json:
        show_json(answer)
        return
    done = "was booked before" if answer.replayed else "is booked"
    say(f"{usage.call_id} {done} with {format_usd(answer.total_nanos)}.")


def _parse_meters(given: Sequence[str]) -> call_pb2.UsageMeters | None:
    known = call_pb2.UsageMeters.DESCRIPTOR.fields_by_name
    meters = call_pb2.UsageMeters()
    for each in given:
        name, _, count = each.partition("=")
        if name not in known or not count.isdecimal():
            raise WrongUse(f"--meter: {each!r} is not NAME=COUNT, such as input_token_count=900")
        setattr(meters, name, min(int(count), _COUNT_MAX))
    return meters if given else None


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
