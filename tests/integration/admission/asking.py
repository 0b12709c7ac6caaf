"""What tests over the wire say often."""

from __future__ import annotations

from typing import Any

from headgate.api.admission.v1 import admission_pb2 as pb
from tests.integration.admission.wire import Client, make_limit, make_reservation


async def put(call: Client, **fields: Any) -> pb.PutLimitResponse:
    response: pb.PutLimitResponse = await call(
        "PutLimit", pb.PutLimitRequest(limit=make_limit(**fields), audit_id="a")
    )
    return response


async def reserve(call: Client, *requests: pb.ReservationRequest) -> pb.ReserveResponse:
    response: pb.ReserveResponse = await call(
        "Reserve", pb.ReserveRequest(reservations=requests or [make_reservation()])
    )
    return response


def kinds(response: pb.ReserveResponse) -> list[str | None]:
    return [each.WhichOneof("result") for each in response.results]
