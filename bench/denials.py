"""A flood of calls that a limit denies: what it costs beside calls that are admitted."""

from __future__ import annotations

import grpc

from bench.backend import BATCH_SIZE, DEADLINE_SECONDS, OPERATION, UnexpectedAnswerError
from bench.load import Work
from headgate.api.common.v1 import limit_pb2
from headgate.api.gateway.v1 import admin_pb2, admin_pb2_grpc, gateway_pb2_grpc
from headgate.api.gateway.v1 import gateway_pb2 as pb
from headgate.channel import authorization
from headgate.ids import IdMaker

ORG = "bench-denied"
LIMIT = limit_pb2.Limit(
    limit_id=ORG,
    scope={"org": ORG},
    metric=limit_pb2.METRIC_CALLS,
    calendar=limit_pb2.CalendarWindow(period=limit_pb2.CALENDAR_PERIOD_DAY, time_zone="UTC"),
    cap=0,
)


async def prepare(channel: grpc.aio.Channel, admin_key: str) -> Work:
    """Makes an org without any calls left; returns a unit of work: a batch that is denied."""
    admin, metadata = admin_pb2_grpc.AdminServiceStub(channel), authorization(admin_key)
    await admin.PutLimit(admin_pb2.PutLimitRequest(limit=LIMIT), metadata=metadata)
    key = await admin.CreateApiKey(
        admin_pb2.CreateApiKeyRequest(name=ORG, role=admin_pb2.ROLE_BACKEND, orgs=[ORG]),
        metadata=metadata,
    )
    stub, ids = gateway_pb2_grpc.GatewayServiceStub(channel), IdMaker()
    own = authorization(key.secret)

    async def ask() -> int:
        calls = [
            pb.AdmitCallRequest(
                call_id=ids.make(),
                org=ORG,
                operation=OPERATION,
                input_token_count=420,
                max_output_token_count=256,
            )
            for _ in range(BATCH_SIZE)
        ]
        answer = await stub.AdmitCalls(
            pb.AdmitCallsRequest(calls=calls), metadata=own, timeout=DEADLINE_SECONDS
        )
        if not all(each.HasField("denial") for each in answer.decisions):
            raise UnexpectedAnswerError(str(answer))
        return BATCH_SIZE

    return ask
