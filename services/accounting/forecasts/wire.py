"""Forecasts: protobuf to values with validation, and back."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chassis.checks import Checks
from headgate.api.accounting.v1 import forecasts_pb2 as pb
from headgate.api.common.v1 import forecast_pb2
from services.accounting.alerts.wire import ORG_LENGTH_MAX, render_time
from services.accounting.domain.meters import MeterCounts
from services.accounting.domain.spending import PeriodForecast, Spending, day_of, month_of
from services.accounting.forecasts.budgets import Budget
from services.accounting.forecasts.store import Slice
from services.accounting.wire import NAME_LENGTH_MAX, PROVIDER_LENGTH_MAX, parse_meters

CALL_COUNT_MAX: Final = 1_000
REPEAT_COUNT_MAX: Final = 1_000_000_000
INT64_MAX: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedCall:
    """A call that is planned, and how often."""

    provider: str
    model: str
    meters: MeterCounts
    call_count: int


def parse_slice(request: pb.GetForecastRequest) -> Slice:
    """Returns whose spend to forecast. Raises InvalidArgument."""
    checks = Checks()
    wanted = Slice(
        org=checks.text("org", request.org, min_length=0, max_length=ORG_LENGTH_MAX),
        operation=checks.text(
            "operation", request.operation, min_length=0, max_length=NAME_LENGTH_MAX
        ),
    )
    checks.raise_if_any()
    return wanted


def parse_plan(request: pb.ForecastCallsRequest) -> tuple[str, list[PlannedCall]]:
    """Returns the org and its planned calls. Raises InvalidArgument."""
    checks = Checks()
    org = checks.text("org", request.org, min_length=0, max_length=ORG_LENGTH_MAX)
    if not 1 <= len(request.calls) <= CALL_COUNT_MAX:
        checks.violate("calls", f"send 1 to {CALL_COUNT_MAX} planned calls")
    checks.raise_if_any()
    plan = [_parse_call(place, message, checks) for place, message in enumerate(request.calls)]
    checks.raise_if_any()
    return org, plan


def _parse_call(place: int, message: forecast_pb2.PlannedCall, outer: Checks) -> PlannedCall:
    checks = Checks(f"calls[{place}].")
    candidate = message.candidate
    planned = PlannedCall(
        provider=checks.text(
            "candidate.provider", candidate.provider, max_length=PROVIDER_LENGTH_MAX
        ),
        model=checks.text("candidate.model", candidate.model, max_length=NAME_LENGTH_MAX),
        meters=parse_meters(checks, message.meters),
        call_count=checks.integer(
            "call_count", message.call_count, minimum=1, maximum=REPEAT_COUNT_MAX
        ),
    )
    if not planned.meters.reported:
        checks.violate("meters", "required: say what a call would use")
    outer.violations += checks.violations
    return planned


def render_costs(
    costs: Sequence[int | None], plan: Sequence[PlannedCall], version: int
) -> pb.ForecastCallsResponse:
    """Renders what planned calls cost; None: something of it has no price."""
    answer = pb.ForecastCallsResponse(price_version=version)
    for cost, planned in zip(costs, plan, strict=True):
        if cost is None:
            answer.costs.add()
            continue
        # A billion of the dearest calls is beyond what a number can hold, and what anybody has.
        total = min(cost * planned.call_count, INT64_MAX)
        answer.costs.add(call_nanos=cost, total_nanos=total)
        answer.total_nanos = min(answer.total_nanos + total, INT64_MAX)
    return answer


def render_forecast(spending: Spending, budgets: Sequence[Budget]) -> pb.GetForecastResponse:
    """Renders what the running day and month, and budgets, will have cost."""
    today = day_of(spending.now)
    month, next_month = month_of(spending.now)
    tomorrow = today + dt.timedelta(days=1)
    return pb.GetForecastResponse(
        day=_render_period(spending.forecast(today, tomorrow)),
        month=_render_period(spending.forecast(month, next_month)),
        last_day_nanos=spending.last_day_nanos,
        usual_day_nanos=spending.usual_day_nanos,
        budgets=map(_render_budget, budgets),
    )


def _render_period(forecast: PeriodForecast | None) -> forecast_pb2.SpendForecast | None:
    if forecast is None:
        return None
    return forecast_pb2.SpendForecast(
        start_time=render_time(forecast.start_time),
        end_time=render_time(forecast.end_time),
        spent_nanos=forecast.spent_nanos,
        expected_nanos=forecast.expected_nanos,
        low_nanos=forecast.low_nanos,
        high_nanos=forecast.high_nanos,
    )


def _render_budget(budget: Budget) -> forecast_pb2.BudgetForecast:
    return forecast_pb2.BudgetForecast(
        limit_id=budget.limit_id,
        scope=budget.scope,
        start_time=render_time(budget.start_time),
        end_time=render_time(budget.end_time),
        cap_nanos=budget.cap_nanos,
        used_nanos=budget.used_nanos,
        forecast=_render_period(budget.forecast),
        exhaustion_time=render_time(budget.exhaustion_time),
    )
