"""`headgate forecast`: what days, months and budgets will have cost, or planned calls would."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Annotated, Final

import typer

from headgate.api.common.v1 import call_pb2, forecast_pb2
from headgate.api.gateway.v1 import forecast_admin_pb2 as pb
from headgate.api.gateway.v1.forecast_admin_pb2_grpc import ForecastAdminServiceStub
from headgate.cli import wording
from headgate.cli.config import WrongUse
from headgate.cli.output import Json, say, show_json, show_table
from headgate.cli.session import open_session
from headgate.money import format_usd

app = typer.Typer(name="forecast")

_METERS: Final = tuple(field.name for field in call_pb2.UsageMeters.DESCRIPTOR.fields)
_COLUMNS: Final = ("provider", "model", "call_count")


@app.callback(invoke_without_command=True)
def forecast(
    context: typer.Context,
    *,
    org: Annotated[str, typer.Option(help="Only this org; else the platform.")] = "",
    operation: Annotated[str, typer.Option(help="Only this operation.")] = "",
    json: Json = False,
) -> None:
    """Shows what the day, the month and budgets will have cost at the present pace."""
    if context.invoked_subcommand is not None:
        return
    answer: pb.GetForecastResponse = open_session(context).ask_at(
        ForecastAdminServiceStub,
        lambda forecasts: forecasts.GetForecast,
        pb.GetForecastRequest(org=org, operation=operation),
    )
    if json:
        show_json(answer)
        return
    rows = [
        _row(name, getattr(answer, name)) for name in ("day", "month") if answer.HasField(name)
    ]
    rows += [_budget_row(each) for each in answer.budgets]
    show_table(
        ["WHAT", ">SPENT", ">EXPECTED", ">FROM", ">TO", ">CAP", "REACHED", "ENDS"],
        rows,
        empty="Too little is known yet: two days of calls are needed.",
    )
    say(
        f"Last 24 hours {format_usd(answer.last_day_nanos)}, "
        f"usually {format_usd(answer.usual_day_nanos)} a day."
    )


@app.command("calls")
def forecast_calls(
    context: typer.Context,
    plan: Annotated[
        Path,
        typer.Argument(
            help="CSV with the columns provider, model and call_count, and what one call uses: "
            "input_token_count, output_token_count, ..."
        ),
    ],
    *,
    org: Annotated[str, typer.Option(help="At this org's prices; else the platform's.")] = "",
    json: Json = False,
) -> None:
    """Prices planned calls at the newest prices."""
    calls = _read_plan(plan)
    answer: pb.ForecastCallsResponse = open_session(context).ask_at(
        ForecastAdminServiceStub,
        lambda forecasts: forecasts.ForecastCalls,
        pb.ForecastCallsRequest(org=org, calls=calls),
    )
    if json:
        show_json(answer)
        return
    rows = [
        [
            f"{call.candidate.provider}/{call.candidate.model}",
            f"{call.call_count:,}",
            format_usd(cost.call_nanos) if cost.HasField("call_nanos") else "no price",
            format_usd(cost.total_nanos) if cost.HasField("total_nanos") else "",
        ]
        for call, cost in zip(calls, answer.costs, strict=True)
    ]
    rows.append(["total", f"{sum(each.call_count for each in calls):,}", "", ""])
    rows[-1][-1] = format_usd(answer.total_nanos)
    show_table(["MODEL", ">CALLS", ">EACH", ">COST"], rows, empty="", footer=True)


def _read_plan(path: Path) -> list[forecast_pb2.PlannedCall]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = reader.fieldnames or ()
            unknown = [each for each in columns if each not in (*_COLUMNS, *_METERS)]
            missing = [each for each in _COLUMNS if each not in columns]
            if unknown or missing:
                wrong = f"{unknown[0]!r} is not known" if unknown else f"{missing[0]} is missing"
                raise WrongUse(f"{path}: the column {wrong}")
            return [_read_call(path, reader.line_num, row) for row in reader]
    except OSError as error:
        raise WrongUse(f"{path}: {error.strerror}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise WrongUse(f"{path}: is no CSV in UTF-8: {error}") from None


def _read_call(path: Path, line: int, row: dict[str, str]) -> forecast_pb2.PlannedCall:
    try:
        call = forecast_pb2.PlannedCall(call_count=int(row["call_count"]))
        for name in _METERS:
            if row.get(name):
                setattr(call.meters, name, int(row[name]))
    except (TypeError, ValueError):
        raise WrongUse(f"{path}: line {line} has a count that is no integer") from None
    call.candidate.provider, call.candidate.model = row["provider"], row["model"] or ""
    return call


def _row(name: str, period: forecast_pb2.SpendForecast) -> list[str]:
    amounts = (
        period.spent_nanos,
        period.expected_nanos,
        period.low_nanos,
        period.high_nanos,
    )
    end = wording.instant(period, "end_time")
    return [name, *map(format_usd, amounts), wording.NOTHING, wording.NOTHING, end]


def _budget_row(budget: forecast_pb2.BudgetForecast) -> list[str]:
    name = budget.limit_id or wording.scope(budget.scope)
    amounts = [wording.NOTHING] * 3
    if budget.HasField("forecast"):
        amounts = [
            format_usd(each)
            for each in (
                budget.forecast.expected_nanos,
                budget.forecast.low_nanos,
                budget.forecast.high_nanos,
            )
        ]
    return [
        name,
        format_usd(budget.used_nanos),
        *amounts,
        format_usd(budget.cap_nanos),
        wording.instant(budget, "exhaustion_time"),
        wording.instant(budget, "end_time"),
    ]
