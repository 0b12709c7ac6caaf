"""One client, two gateways, real services: replicas come and go, and nobody notices."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import pytest_asyncio

import headgate
from headgate.api.common.v1 import limit_pb2
from headgate.api.gateway.v1 import admin_pb2
from tests.integration.gateway.system import ACME_KEY, GLOBEX_KEY, System, eventually
from tests.integration.headgate.real import running_system

pytestmark = pytest.mark.asyncio(loop_scope="module")

GATEWAYS = ("gateway", "gateway-b")
CALLERS = 16


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(postgres_url: str, pytestconfig: pytest.Config) -> AsyncIterator[System]:
    async with running_system(postgres_url, pytestconfig) as running:
        await running.start(GATEWAYS[1])
        yield running


def make_client(system: System, key: str) -> headgate.Client:
    target = ",".join(system.addresses[name] for name in GATEWAYS)
    return headgate.Client(f"ipv4:{target}", api_key=key)


async def make_call(client: headgate.Client) -> int:
    async with client.call("summarize", input_tokens=100, max_output_tokens=10) as call:
        call.report(input_tokens=90, output_tokens=10)
    assert call.completion_error is None
    assert call.receipt is not None
    return call.receipt.total_nanos


async def booked(system: System, org: str) -> tuple[int, int]:
    """Number and cost of an org's calls in the usage log."""
    today = datetime.now(UTC).date().isoformat()
    request = admin_pb2.GetUsageRequest(start_day=today, end_day=today, org=org)
    rows = (await system.staff().GetUsage(request)).rows
    return sum(row.call_count for row in rows), sum(row.cost_nanos for row in rows)


async def counted(system: System, org: str) -> set[tuple[int, int]]:
    """Held and settled on each of an org's counters of cost."""
    request = admin_pb2.ListCountersRequest(org=org)
    counters = (await system.staff().ListCounters(request)).counters
    return {(each.held, each.settled) for each in counters if each.metric == limit_pb2.METRIC_COST}


async def test_a_rolling_restart_costs_no_call_an_error(system: System) -> None:
    costs: list[int] = []
    restarted = asyncio.Event()

    async def call_until_restarted() -> None:
        while not restarted.is_set():
            costs.append(await make_call(client))

    async with make_client(system, ACME_KEY) as client, asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(call_until_restarted())
        for name in GATEWAYS:
            await system.stop(name)
            await system.start(name)
        restarted.set()

    assert len(costs) > CALLERS
    assert await booked(system, "acme") == (len(costs), sum(costs))

    async def all_is_settled() -> bool:
        return await counted(system, "acme") == {(0, sum(costs))}

    # What a gateway could not settle, admission reads from accounting's feed.
    await eventually(all_is_settled)


async def test_equal_calls_fill_a_cap_exactly_over_both_gateways(system: System) -> None:
    calls = 25
    limit = limit_pb2.Limit(
        limit_id="globex-few",
        scope={"org": "globex"},
        metric=limit_pb2.METRIC_CALLS,
        calendar=limit_pb2.CalendarWindow(
            period=limit_pb2.CALENDAR_PERIOD_MONTH, time_zone="Asia/Tokyo"
        ),
        cap=calls,
    )
    await system.staff().PutLimit(admin_pb2.PutLimitRequest(limit=limit))

    async def find_blocker(client: headgate.Client) -> str:
        try:
            await make_call(client)
        except headgate.Denied as denied:
            return denied.violations[0].limit_id
        return "none"

    async with make_client(system, GLOBEX_KEY) as one, make_client(system, GLOBEX_KEY) as two:
        blockers = await asyncio.gather(*(find_blocker(each) for each in [one, two] * 32))

    assert Counter(blockers) == {"none": calls, "globex-few": 64 - calls}
    assert (await booked(system, "globex"))[0] == calls
