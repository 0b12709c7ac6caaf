"""Forecasts from what was booked, budgets as admission counts them, and planned calls."""

from __future__ import annotations

import datetime as dt
from typing import Any, TypeAlias

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.database import Connection, Pool
from headgate.api.accounting.v1 import forecasts_pb2 as pb
from headgate.api.accounting.v1 import forecasts_pb2_grpc as pb_grpc
from headgate.api.admission.v1 import admission_pb2
from headgate.api.common.v1 import call_pb2, forecast_pb2, limit_pb2
from headgate.failures import parse_failure
from services.accounting.domain.meters import MeterCounts
from services.accounting.domain.spending import month_of
from services.accounting.forecasts.budgets import Budgets
from services.accounting.forecasts.store import SpendingStore
from tests.integration.accounting.noticing import EVENTS
from tests.integration.accounting.replicas import Replica
from tests.integration.accounting.samples import (
    INPUT_NANOS,
    MODEL,
    OUTPUT_NANOS,
    PROVIDER,
    now,
    report,
)

Stub: TypeAlias = "pb_grpc.ForecastServiceAsyncStub"
HOURLY_NANOS = 10**9


@pytest.fixture
def forecasts(channel: grpc.aio.Channel) -> Stub:
    return pb_grpc.ForecastServiceStub(channel)


async def book_days(replica: Replica, days: int) -> None:
    """Books the same in each whole hour of the last days."""
    hour = now().replace(minute=0, second=0, microsecond=0)
    reports = [
        report(
            admit_time=hour - dt.timedelta(hours=back),
            held_nanos=HOURLY_NANOS,
            meters=MeterCounts(),
        )
        for back in range(1, days * 24 + 1)
    ]
    await replica.ledger.record(reports)


async def test_a_steady_spend_is_forecast_as_it_is(
    forecasts: Stub, replica: Replica, admin: Connection
) -> None:
    await book_days(replica, 10)
    answer = await forecasts.GetForecast(pb.GetForecastRequest(org="acme"))
    everybody = await forecasts.GetForecast(pb.GetForecastRequest())

    assert answer.day == everybody.day
    assert answer.day.low_nanos == answer.day.high_nanos == 24 * HOURLY_NANOS
    assert answer.month.expected_nanos > answer.month.spent_nanos
    assert (answer.last_day_nanos, answer.usual_day_nanos) == (24 * HOURLY_NANOS,) * 2
    nobody = await forecasts.GetForecast(pb.GetForecastRequest(org="acme", operation="other"))
    assert not nobody.HasField("day")
    assert nobody.last_day_nanos == 0


class Admission:
    """Admission's counters, over two pages."""

    def __init__(self, *counters: limit_pb2.CounterState) -> None:
        self._counters = counters

    async def ListCounters(  # noqa: N802 - the contract's name
        self, request: admission_pb2.ListCountersRequest, *, timeout: float
    ) -> Any:
        half = len(self._counters) // 2
        if request.page_token:
            return admission_pb2.ListCountersResponse(counters=self._counters[half:])
        return admission_pb2.ListCountersResponse(
            counters=self._counters[:half], next_page_token="2"
        )


def stamp(instant: dt.datetime) -> Timestamp:
    time = Timestamp()
    time.FromDatetime(instant)
    return time


def counter(cap: int | None, used: int, **changes: Any) -> limit_pb2.CounterState:
    month, next_month = month_of(now())
    fields: dict[str, Any] = {
        "scope": {"org": "acme"},
        "metric": limit_pb2.METRIC_COST,
        "start_time": stamp(month),
        "end_time": stamp(next_month),
        "settled": used,
        "cap": cap,
        "limit_id": "acme-monthly",
    }
    return limit_pb2.CounterState(**fields | changes)


async def test_a_budget_that_will_not_last_is_told_once_in_its_period(
    replica: Replica, pool: Pool, admin: Connection
) -> None:
    await book_days(replica, 10)
    small, large = 20 * HOURLY_NANOS, 10**6 * HOURLY_NANOS
    budgets = Budgets(
        pool,
        SpendingStore(pool),
        Admission(
            counter(small, small - 1),
            # Enough; no money; no cap; by a dimension that nobody sums; long over.
            counter(large, small),
            counter(100, 99, metric=limit_pb2.METRIC_CALLS),
            counter(None, 99),
            counter(small, small, scope={"team": "blue"}),
            counter(small, small, end_time=stamp(now() - dt.timedelta(days=1))),
        ),
    )
    for _ in range(2):
        assert await budgets.check() == 1

    (event,) = await admin.fetch(EVENTS)
    assert (event["type"], event["org"]) == ("cost.forecast.high", "acme")
    found = await budgets.forecast("acme")
    assert [each.cap_nanos for each in found] == [small, large]
    assert found[0].exhaustion_time is not None
    assert found[0].exhaustion_time - now() < dt.timedelta(hours=2)
    assert found[1].exhaustion_time is None
    assert await budgets.forecast("") == []


async def test_a_budget_without_an_end_has_a_day_on_which_it_is_spent(
    replica: Replica, pool: Pool
) -> None:
    await book_days(replica, 10)
    total = counter(1_000 * HOURLY_NANOS, 0)
    total.ClearField("start_time")
    total.ClearField("end_time")
    (found,) = await Budgets(pool, SpendingStore(pool), Admission(total)).forecast("acme")

    assert found.forecast is None
    assert found.exhaustion_time is not None
    assert abs(found.exhaustion_time - now() - dt.timedelta(hours=1_000)) < dt.timedelta(hours=2)


def planned(count: int, model: str = MODEL, **meters: int) -> forecast_pb2.PlannedCall:
    return forecast_pb2.PlannedCall(
        candidate=call_pb2.Candidate(provider=PROVIDER, model=model),
        meters=call_pb2.UsageMeters(**meters),
        call_count=count,
    )


async def test_planned_calls_are_priced_and_what_has_no_price_is_said(forecasts: Stub) -> None:
    one = planned(1_000, input_token_count=10_000, output_token_count=500)
    answer = await forecasts.ForecastCalls(
        pb.ForecastCallsRequest(calls=[one, planned(5, "gpt-9", input_token_count=1)])
    )

    cost = (10_000 * INPUT_NANOS + 500 * OUTPUT_NANOS) // 10**6
    priced, unpriced = answer.costs
    assert (priced.call_nanos, priced.total_nanos) == (cost, 1_000 * cost)
    assert not unpriced.HasField("call_nanos")
    assert (answer.total_nanos, answer.price_version) == (1_000 * cost, 1)


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (pb.ForecastCallsRequest(), "calls"),
        (pb.ForecastCallsRequest(calls=[planned(1)] * 1_001), "calls"),
        (pb.ForecastCallsRequest(calls=[planned(0, input_token_count=1)]), "calls[0].call_count"),
        (pb.ForecastCallsRequest(calls=[planned(1)]), "calls[0].meters"),
        (
            pb.ForecastCallsRequest(calls=[planned(1, input_token_count=-1)]),
            "calls[0].meters.input_token_count",
        ),
        (
            pb.ForecastCallsRequest(calls=[planned(1, "", input_token_count=1)]),
            "calls[0].candidate.model",
        ),
        (pb.ForecastCallsRequest(org="a\nb", calls=[planned(1, input_token_count=1)]), "org"),
    ],
)
async def test_a_bad_plan_names_its_field(
    forecasts: Stub, request_: pb.ForecastCallsRequest, field: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await forecasts.ForecastCalls(request_)

    failure = parse_failure(refused.value)
    assert failure.code == "INVALID_ARGUMENT"
    assert field in [each.field for each in failure.violations]
