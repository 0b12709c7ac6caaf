"""Calls, reports and what they leave in the books, for the tests of their life."""

from __future__ import annotations

import datetime as dt

from headgate.api.common.v1 import call_pb2, denial_pb2, limit_pb2, usage_pb2
from headgate.api.gateway.v1 import admin_pb2, gateway_pb2
from tests.integration.gateway.system import Keyed, System, new_id

OPENAI = call_pb2.Candidate(provider="openai", model="gpt-4o-mini")
ANTHROPIC = call_pb2.Candidate(provider="anthropic", model="claude-3-5-haiku-latest")
SUCCEEDED = call_pb2.CALL_OUTCOME_SUCCEEDED
METERS = call_pb2.UsageMeters(input_token_count=900, output_token_count=50)
# At 0.15 and 0.60 dollars a million.
METERS_NANOS = 900 * 150 + 50 * 600
pb = gateway_pb2


def make_call(call_id: str = "", **values: object) -> pb.AdmitCallRequest:
    request = pb.AdmitCallRequest(
        call_id=call_id or new_id(),
        operation="summarize",
        input_token_count=1_000,
        max_output_token_count=100,
    )
    request.MergeFrom(pb.AdmitCallRequest(**values))  # type: ignore[arg-type]  # by field name
    return request


async def admit(backend: Keyed, request: pb.AdmitCallRequest) -> pb.Admission:
    decision = (await backend.AdmitCall(request)).decision
    assert decision.WhichOneof("decision") == "admission", decision
    admission: pb.Admission = decision.admission
    return admission


async def deny(backend: Keyed, request: pb.AdmitCallRequest) -> denial_pb2.Denial:
    decision = (await backend.AdmitCall(request)).decision
    assert decision.WhichOneof("decision") == "denial", decision
    denial: denial_pb2.Denial = decision.denial
    return denial


def report(admission: pb.Admission) -> pb.CompleteCallRequest:
    return pb.CompleteCallRequest(permit=admission.permit, outcome=SUCCEEDED, meters=METERS)


async def money_of(system: System, org: str) -> tuple[int, int, int, int]:
    """Held and settled on the org's month, and what log and rollups say of today."""
    staff = system.staff()
    counters = (await staff.ListCounters(admin_pb2.ListCountersRequest(org=org))).counters
    months = [
        each
        for each in counters
        if each.metric == limit_pb2.METRIC_COST
        and each.calendar.period == limit_pb2.CALENDAR_PERIOD_MONTH
    ]
    today = dt.datetime.now(dt.UTC).date()
    booked = []
    for source in (usage_pb2.USAGE_SOURCE_LOG, usage_pb2.USAGE_SOURCE_ROLLUP):
        usage = await staff.GetUsage(
            admin_pb2.GetUsageRequest(
                start_day=(today - dt.timedelta(days=1)).isoformat(),
                end_day=today.isoformat(),
                org=org,
                source=source,
            )
        )
        booked.append(sum(row.cost_nanos for row in usage.rows))
    held, settled = (sum(each.held for each in months), sum(each.settled for each in months))
    return held, settled, booked[0], booked[1]
