"""`headgate books close`, `statements` and `statement`: months that do not change any more."""

from __future__ import annotations

import csv
import sys
from typing import Annotated

import typer

from headgate.api.gateway.v1 import book_admin_pb2 as pb
from headgate.api.gateway.v1.book_admin_pb2_grpc import BookAdminServiceStub
from headgate.cli import wording
from headgate.cli.output import Json, say, show_json, show_table
from headgate.cli.session import open_session
from headgate.money import format_usd

# Part of `headgate books`.
app = typer.Typer()

_Month = Annotated[str, typer.Argument(metavar="MONTH", help="Month in UTC, such as 2026-10.")]
_Org = Annotated[str, typer.Option(help="This org's, else the platform's.")]
_COLUMNS = ("usage_month", "org", "operation", "provider", "model", "call_count", "cost_nanos")


@app.command("close")
def close(context: typer.Context, month: _Month, *, json: Json = False) -> None:
    """Closes a month that is over: its statements never change."""
    answer: pb.CloseMonthResponse = open_session(context).ask_at(
        BookAdminServiceStub, lambda stub: stub.CloseMonth, pb.CloseMonthRequest(month=month)
    )
    if json:
        show_json(answer)
        return
    total = format_usd(answer.statement.cost_nanos)
    say(f"{month} is closed at {total}." if answer.closed else f"{month} was closed at {total}.")


@app.command("statements")
def list_statements(context: typer.Context, *, org: _Org = "", json: Json = False) -> None:
    """Lists closed months, newest first."""
    answer: pb.ListStatementsResponse = open_session(context).ask_at(
        BookAdminServiceStub, lambda stub: stub.ListStatements, pb.ListStatementsRequest(org=org)
    )
    if json:
        show_json(answer)
        return
    show_table(
        ["MONTH", ">CALLS", ">COST", ">CORRECTIONS", "CLOSED"],
        [
            [
                each.month,
                f"{each.call_count:,}",
                format_usd(each.cost_nanos),
                format_usd(each.correction_nanos),
                wording.instant(each, "close_time"),
            ]
            for each in answer.statements
        ],
        empty="No month is closed.",
    )


@app.command("statement")
def show_statement(
    context: typer.Context,
    month: _Month,
    *,
    org: _Org = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="As comma-separated values.")] = False,
    json: Json = False,
) -> None:
    """Shows what a closed month charges."""
    request = pb.GetStatementRequest(month=month, org=org)
    answer: pb.GetStatementResponse = open_session(context).collect_at(
        BookAdminServiceStub, lambda stub: stub.GetStatement, request
    )
    if json:
        show_json(answer)
    elif as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows([getattr(line, name) for name in _COLUMNS] for line in answer.lines)
    else:
        show_table(
            ["USED IN", "ORG", "OPERATION", "MODEL", ">CALLS", ">COST"],
            [
                [
                    each.usage_month,
                    each.org,
                    each.operation,
                    f"{each.provider}/{each.model}" if each.provider else "",
                    f"{each.call_count:,}",
                    format_usd(each.cost_nanos),
                ]
                for each in answer.lines
            ],
            empty="It charges nothing.",
        )
