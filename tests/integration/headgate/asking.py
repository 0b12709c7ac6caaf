"""What the tests of conformance say often: to the fake gateway as to the real one."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable

import grpc.aio
import pytest

from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import gateway_pb2 as pb
from headgate.errors import RpcError
from headgate.failures import parse_failure
from tests.integration.gateway.system import Keyed

SUCCEEDED = call_pb2.CALL_OUTCOME_SUCCEEDED
METERS = call_pb2.UsageMeters(input_token_count=90, output_token_count=10)


def ask(**values: object) -> pb.AdmitCallRequest:
    request = pb.AdmitCallRequest(
        call_id=str(uuid.uuid4()),
        operation="summarize",
        input_token_count=100,
        max_output_token_count=50,
    )
    request.MergeFrom(pb.AdmitCallRequest(**values))  # type: ignore[arg-type] # by field name
    return request


async def admit(gateway: Keyed, request: pb.AdmitCallRequest) -> pb.Admission:
    decision = (await gateway.AdmitCall(request)).decision
    assert decision.WhichOneof("decision") == "admission", decision
    admission: pb.Admission = decision.admission
    return admission


async def complete(gateway: Keyed, **values: object) -> pb.CallReceipt:
    request = pb.CompleteCallRequest(**{"outcome": SUCCEEDED, "meters": METERS, **values})  # type: ignore[arg-type] # by field name
    receipt: pb.CallReceipt = (await gateway.CompleteCall(request)).receipt
    return receipt


async def release(gateway: Keyed, **values: object) -> pb.FinishedCall:
    request = pb.ReleaseCallRequest(**values)  # type: ignore[arg-type] # by field name
    finished: pb.FinishedCall = (await gateway.ReleaseCall(request)).finished
    return finished


async def finished(gateway: Keyed, request: pb.AdmitCallRequest) -> pb.FinishedCall:
    decision = (await gateway.AdmitCall(request)).decision
    assert decision.WhichOneof("decision") == "finished", decision
    ended: pb.FinishedCall = decision.finished
    return ended


async def refused(rpc: Awaitable[object]) -> RpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await rpc
    return parse_failure(caught.value)
