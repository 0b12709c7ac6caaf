"""`headgate forecast`: what days, months and budgets will have cost."""

from __future__ import annotations

from typing import Annotated

import typer

from headgate.api.common.v1 import forecast_pb2
from headgate.api.gateway.v1 import forecast_admin_pb2 as pb
from headgate.api.gateway.v1.forecast_admin_pb2_grpc import ForecastAdminServiceStub
from headgate.cli import wording
from headgate.cli.output import Json, say, show_json, show_table
from headgate.cli.session import open_session
from headgate.money import format_usd


def forecast(
    context: typer.Context,
    *,
    org: Annotated[str, typer.Option(help="Only this org; else the platform.")] = "",
    operation: Annotated[str, typer.Option(help="Only this operation.")] = "",
    json: Json = False,
) -> None:
    """Shows what the day, the month and budgets will have cost at the present pace."""
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
