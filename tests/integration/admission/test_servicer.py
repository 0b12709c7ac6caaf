"""Every RPC over the wire."""

from __future__ import annotations

from typing import Any

import grpc
import pytest

from headgate.api.admission.v1 import admission_pb2 as pb
from headgate.api.admission.v1 import admission_pb2_grpc
from headgate.api.common.v1 import denial_pb2, limit_pb2
from tests.integration.admission.wire import (
    Client,
    make_candidate,
    make_limit,
    make_reservation,
    violated,
)


async def test_a_call_from_start_to_end(call: Client) -> None:
    member = make_reservation()
    answer = await call("Reserve", pb.ReserveRequest(reservations=[member, member]))
    first, second = (result.hold for result in answer.results)
    assert answer.limits_version == 1
    assert (first.candidate.model, first.held_nanos, first.operation) == ("gpt-4o", 40, "chat")
    assert (first.price_version, first.breaker_epoch) == (3, 7)
    lifetime = first.expire_time.ToDatetime() - first.admit_time.ToDatetime()
    assert lifetime.total_seconds() == 60
    assert (first.replayed, second.replayed) == (False, True)
    key = pb.CallKey(org="acme", call_id=member.call_id)
    looked_up = await call("GetReservations", pb.GetReservationsRequest(calls=[key, key]))
    for found in looked_up.results:
        assert found.state == pb.RESERVATION_STATE_HELD
        assert found.hold.admit_time == first.admit_time
    settlement = pb.Settlement(org="acme", call_id=member.call_id, revision=1, total_nanos=12)
    ended = await call("Settle", pb.SettleRequest(settlements=[settlement]))
    assert ended.results[0].ended == pb.Ended(state=pb.RESERVATION_STATE_SETTLED, settled_nanos=12)
    again = await call("Reserve", pb.ReserveRequest(reservations=[member]))
    assert again.results[0].ended.settled_nanos == 12
    released = await call("Release", pb.ReleaseRequest(calls=[key]))
    assert released.results[0].ended.state == pb.RESERVATION_STATE_SETTLED


async def test_a_denial_says_why_who_and_until_when(call: Client) -> None:
    await call("PutLimit", pb.PutLimitRequest(limit=make_limit(cap=30), audit_id="a"))
    answer = await call("Reserve", pb.ReserveRequest(reservations=[make_reservation()]))
    denial = answer.results[0].denial
    assert denial.reason == denial_pb2.DENIAL_REASON_BUDGET_EXCEEDED
    assert denial.retry_kind == denial_pb2.RETRY_KIND_NEVER
    violation = denial.violations[0]
    assert (violation.limit_id, violation.owner) == ("acme-day", "finance")
    assert (violation.cap, violation.requested, violation.excess) == (30, 40, 10)
    assert dict(violation.scope) == {"org": "acme"}
    cheap = make_reservation(candidates=[make_candidate(cost_nanos=30)])
    await call("Reserve", pb.ReserveRequest(reservations=[cheap]))
    denied = await call(
        "Reserve",
        pb.ReserveRequest(
            reservations=[make_reservation(candidates=[make_candidate(cost_nanos=1)])]
        ),
    )
    denial = denied.results[0].denial
    assert denial.retry_kind == denial_pb2.RETRY_KIND_AT_LATEST
    assert 0 < denial.retry_delay.ToTimedelta().total_seconds() <= 86_400


async def test_an_id_with_other_fields_is_refused(call: Client) -> None:
    member = make_reservation()
    other = make_reservation(call_id=member.call_id, fingerprint=b"o" * 32)
    answer = await call("Reserve", pb.ReserveRequest(reservations=[member, other]))
    assert answer.results[1].error.code == grpc.StatusCode.ALREADY_EXISTS.value[0]


async def test_limits_are_put_listed_and_deleted(call: Client) -> None:
    limit = make_limit()
    limit.calendar.time_zone = "Europe/Amsterdam"
    put = await call("PutLimit", pb.PutLimitRequest(limit=limit, audit_id="a"))
    limit.mode = limit_pb2.LIMIT_MODE_ENFORCE
    limit.alert_percents.extend((50, 80, 100))
    limit.version = 2
    assert put.limit == limit
    assert put.limits_version == 2
    first = await call("ListLimits", pb.ListLimitsRequest(page_size=1))
    assert [each.limit_id for each in first.limits] == ["acme-day"]
    rest = await call(
        "ListLimits", pb.ListLimitsRequest(page_size=100, page_token=first.next_page_token)
    )
    assert len(rest.limits) == 6
    assert not rest.next_page_token
    deleted = await call("DeleteLimit", pb.DeleteLimitRequest(limit_id="acme-day", audit_id="b"))
    assert deleted.limits_version == 3
    with pytest.raises(grpc.aio.AioRpcError) as missing:
        await call("DeleteLimit", pb.DeleteLimitRequest(limit_id="acme-day"))
    assert missing.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_fence_stops_calls(call: Client) -> None:
    fence = pb.SetFenceRequest(
        fence_id="platform", sequence=3, active=True, message="Audit.", actor="ops"
    )
    answer = await call("SetFence", fence)
    assert (answer.sequence, answer.active) == (3, True)
    denied = await call("Reserve", pb.ReserveRequest(reservations=[make_reservation()]))
    assert denied.results[0].denial.reason == denial_pb2.DENIAL_REASON_FENCED
    assert denied.results[0].denial.message == "Audit."


async def test_counters_are_listed_page_by_page(call: Client) -> None:
    orgs = ["acme", "globex"]
    members = [make_reservation(org=org) for org in orgs]
    await call("Reserve", pb.ReserveRequest(reservations=members))
    seen, token = [], ""
    while True:
        page = await call("ListCounters", pb.ListCountersRequest(page_size=2, page_token=token))
        seen += page.counters
        if not (token := page.next_page_token):
            break
    assert len(seen) == 9
    assert sum(each.held for each in seen if each.metric == limit_pb2.METRIC_CALLS) == 4
    mine = await call("ListCounters", pb.ListCountersRequest(org="acme", page_size=2))
    assert {each.scope["org"] for each in mine.counters} == {"acme"}
    request = pb.ListCountersRequest(org="globex", page_token=mine.next_page_token)
    assert await violated(call, "ListCounters", request) == {"page_token"}


@pytest.mark.parametrize("metadata", [(), (("authorization", "Bearer " + "x" * 32),)])
async def test_nobody_gets_in_without_the_services_token(address: str, metadata: Any) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        stub = admission_pb2_grpc.AdmissionServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as refusal:
            await stub.ListLimits(pb.ListLimitsRequest(), metadata=metadata, timeout=10)
    assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED
