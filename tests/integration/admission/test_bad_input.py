"""Every kind of bad input to every RPC: the field is named and nothing changes."""

from __future__ import annotations

import uuid
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration

from chassis.database import Connection
from headgate.api.admission.v1 import admission_pb2 as pb
from headgate.api.common.v1 import call_pb2, limit_pb2
from services.admission.wire import BATCH_SIZE_MAX
from tests.integration.admission.replicas import new_call_id
from tests.integration.admission.wire import (
    INVALID,
    Client,
    make_candidate,
    make_limit,
    make_reservation,
    violated,
)

BAD_RESERVATIONS: dict[str, tuple[dict[str, Any], str]] = {
    "no org": ({"org": ""}, "org"),
    "org with spaces": ({"org": "a b"}, "org"),
    "org too long": ({"org": "a" * 65}, "org"),
    "org of other letters": ({"org": "ácme"}, "org"),
    "no id": ({"call_id": ""}, "call_id"),
    "id that is none": ({"call_id": "12"}, "call_id"),
    "id in braces": ({"call_id": "{" + str(uuid.uuid4()) + "}"}, "call_id"),
    "no fingerprint": ({"fingerprint": b""}, "fingerprint"),
    "long fingerprint": ({"fingerprint": b"x" * 33}, "fingerprint"),
    "no operation": ({"operation": ""}, "operation"),
    "operation with a line": ({"operation": "a\nb"}, "operation"),
    "no candidates": ({"candidates": []}, "candidates.length"),
    "five candidates": ({"candidates": [make_candidate()] * 5}, "candidates.length"),
    "no hold": ({"hold_duration": None}, "hold_duration"),
    "negative hold": ({"hold_duration": Duration(seconds=-1)}, "hold_duration"),
    "long hold": ({"hold_duration": Duration(seconds=86_401)}, "hold_duration"),
    "negative version": ({"price_version": -1}, "price_version"),
    "negative cost": ({"candidates": [make_candidate(cost_nanos=-1)]}, "candidates[0].cost_nanos"),
    "huge cost": (
        {"candidates": [make_candidate(), make_candidate(cost_nanos=2**62)]},
        "candidates[1].cost_nanos",
    ),
    "negative epoch": (
        {"candidates": [make_candidate(breaker_epoch=-1)]},
        "candidates[0].breaker_epoch",
    ),
    "no provider": (
        {"candidates": [make_candidate(candidate=call_pb2.Candidate(model="m"))]},
        "candidates[0].candidate.provider",
    ),
    "no model": (
        {"candidates": [make_candidate(candidate=call_pb2.Candidate(provider="p"))]},
        "candidates[0].candidate.model",
    ),
}


async def test_a_bad_member_fails_alone_and_names_its_field(
    call: Client, admin: Connection
) -> None:
    members = [make_reservation(**fields) for fields, _ in BAD_RESERVATIONS.values()]
    answer = await call("Reserve", pb.ReserveRequest(reservations=[*members, make_reservation()]))
    for position, (name, (_, field)) in enumerate(BAD_RESERVATIONS.items()):
        error = answer.results[position].error
        assert error.code == INVALID, name
        assert [each.field for each in error.violations] == [f"reservations[{position}].{field}"]
    assert answer.results[-1].hold.held_nanos == 40
    assert await admin.fetchval("SELECT count(*) FROM reservation") == 1


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"org": ""}, "org"),
        ({"call_id": "x"}, "call_id"),
        ({"revision": 0}, "revision"),
        ({"revision": -1}, "revision"),
        ({"total_nanos": -1}, "total_nanos"),
        ({"total_nanos": 2**63 - 1}, "total_nanos"),
    ],
)
async def test_bad_settlements(
    call: Client, admin: Connection, fields: dict[str, Any], field: str
) -> None:
    good: dict[str, Any] = {
        "org": "acme",
        "call_id": str(new_call_id()),
        "revision": 1,
        "total_nanos": 1,
    }
    answer = await call("Settle", pb.SettleRequest(settlements=[pb.Settlement(**good | fields)]))
    error = answer.results[0].error
    assert error.code == INVALID
    assert [each.field for each in error.violations] == [f"settlements[0].{field}"]
    assert await admin.fetchval("SELECT count(*) FROM ended_reservation") == 0


async def test_bad_keys_and_unknown_calls(call: Client) -> None:
    keys = [pb.CallKey(org="acme", call_id="x"), pb.CallKey(org="acme", call_id=str(uuid.uuid4()))]
    released = await call("Release", pb.ReleaseRequest(calls=keys[:1]))
    assert released.results[0].error.violations[0].field == "calls[0].call_id"
    found = await call("GetReservations", pb.GetReservationsRequest(calls=keys))
    codes = [result.error.code for result in found.results]
    assert codes == [INVALID, grpc.StatusCode.NOT_FOUND.value[0]]


@pytest.mark.parametrize("count", [0, BATCH_SIZE_MAX + 1])
@pytest.mark.parametrize(
    ("method", "field", "single"),
    [
        ("Reserve", "reservations", pb.ReserveRequest(reservations=[make_reservation()])),
        ("Settle", "settlements", pb.SettleRequest(settlements=[pb.Settlement()])),
        ("Release", "calls", pb.ReleaseRequest(calls=[pb.CallKey()])),
        ("GetReservations", "calls", pb.GetReservationsRequest(calls=[pb.CallKey()])),
    ],
)
async def test_batches_have_a_size(
    call: Client, method: str, field: str, single: Any, count: int
) -> None:
    request = type(single)(**{field: list(getattr(single, field)) * count})
    assert await violated(call, method, request) == {f"{field}.length"}


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"limit_id": ""}, "limit.limit_id"),
        ({"limit_id": "Acme Day"}, "limit.limit_id"),
        ({"scope": {"planet": "mars"}}, "limit.scope"),
        ({"scope": {"org": ""}}, "limit.scope[org]"),
        ({"scope": {"org": "a b"}}, "limit.scope[org]"),
        ({"metric": 0}, "limit.metric"),
        ({"metric": 99}, "limit.metric"),
        ({"calendar": None}, "limit.calendar"),
        ({"calendar": limit_pb2.CalendarWindow(period=77)}, "limit.calendar.period"),  # type: ignore[arg-type]
        (
            {
                "calendar": limit_pb2.CalendarWindow(
                    period=limit_pb2.CALENDAR_PERIOD_DAY, time_zone="Nowhere/Land"
                )
            },
            "limit.calendar.time_zone",
        ),
        ({"cap": -1}, "limit.cap"),
        ({"cap": 2**62}, "limit.cap"),
        ({"owner": "x" * 257}, "limit.owner"),
    ],
)
async def test_bad_limits_change_nothing(call: Client, fields: dict[str, Any], field: str) -> None:
    request = pb.PutLimitRequest(limit=make_limit(**fields))
    assert await violated(call, "PutLimit", request) == {field}
    listed = await call("ListLimits", pb.ListLimitsRequest())
    assert len(listed.limits) == 6


@pytest.mark.parametrize(
    ("method", "request_", "fields"),
    [
        ("PutLimit", pb.PutLimitRequest(limit=make_limit(), audit_id="x" * 65), {"audit_id"}),
        ("DeleteLimit", pb.DeleteLimitRequest(limit_id=""), {"limit_id"}),
        ("DeleteLimit", pb.DeleteLimitRequest(limit_id="a", audit_id="a\0"), {"audit_id"}),
        ("ListLimits", pb.ListLimitsRequest(page_size=-1), {"page_size"}),
        ("ListLimits", pb.ListLimitsRequest(page_token="!"), {"page_token"}),
        ("ListLimits", pb.ListLimitsRequest(page_token="AAAA"), {"page_token"}),
        ("ListCounters", pb.ListCountersRequest(org="a b"), {"org"}),
        ("ListCounters", pb.ListCountersRequest(page_token="AAAAAAAAAAAAAAAA"), {"page_token"}),
        ("SetFence", pb.SetFenceRequest(), {"fence_id", "sequence", "actor"}),
        (
            "SetFence",
            pb.SetFenceRequest(fence_id="f", sequence=1, actor="a", message="x" * 1025),
            {"message"},
        ),
    ],
)
async def test_other_bad_input(call: Client, method: str, request_: Any, fields: set[str]) -> None:
    assert await violated(call, method, request_) == fields
