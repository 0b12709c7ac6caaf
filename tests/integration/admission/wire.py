"""A client of admission over the wire, and messages that are right."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status

from headgate.api.admission.v1 import admission_pb2 as pb
from headgate.api.admission.v1 import admission_pb2_grpc
from headgate.api.common.v1 import call_pb2, limit_pb2
from tests.integration.admission.replicas import new_call_id

TOKEN = "t" * 32
AUTHORIZED = (("authorization", f"Bearer {TOKEN}"),)
INVALID = grpc.StatusCode.INVALID_ARGUMENT.value[0]


class Client:
    """The service's stub with the services' token."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub = admission_pb2_grpc.AdmissionServiceStub(channel)

    async def __call__(self, method: str, request: Any) -> Any:
        return await getattr(self._stub, method)(request, metadata=AUTHORIZED, timeout=10)


def make_reservation(**fields: Any) -> pb.ReservationRequest:
    defaults: dict[str, Any] = {
        "org": "acme",
        "call_id": str(new_call_id()),
        "fingerprint": b"f" * 32,
        "operation": "chat",
        "candidates": [make_candidate()],
        "hold_duration": Duration(seconds=60),
        "price_version": 3,
    }
    return pb.ReservationRequest(**defaults | fields)


def make_candidate(**fields: Any) -> pb.CandidateHold:
    defaults: dict[str, Any] = {
        "candidate": call_pb2.Candidate(provider="openai", model="gpt-4o"),
        "cost_nanos": 40,
        "breaker_epoch": 7,
    }
    return pb.CandidateHold(**defaults | fields)


def make_limit(**fields: Any) -> limit_pb2.Limit:
    defaults: dict[str, Any] = {
        "limit_id": "acme-day",
        "scope": {"org": "acme"},
        "metric": limit_pb2.METRIC_COST,
        "calendar": limit_pb2.CalendarWindow(period=limit_pb2.CALENDAR_PERIOD_DAY),
        "cap": 100,
        "owner": "finance",
    }
    return limit_pb2.Limit(**defaults | fields)


async def violated(call: Client, method: str, request: Any) -> set[str]:
    """The fields that a refused RPC names."""
    with pytest.raises(grpc.aio.AioRpcError) as refusal:
        await call(method, request)
    assert refusal.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    status = rpc_status.from_call(refusal.value)  # type: ignore[arg-type]
    assert status is not None
    bad = error_details_pb2.BadRequest()
    assert any(detail.Unpack(bad) for detail in status.details)
    assert all(each.description for each in bad.field_violations)
    return {each.field for each in bad.field_violations}
