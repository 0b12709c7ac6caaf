"""Calls of a toy server, as tests look at them."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2  # type: ignore[import-untyped]
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from tests.integration.chassis import toy
from tests.integration.chassis.conftest import Running

READINESS = health_pb2.HealthCheckRequest(service="readiness")
LIVENESS = health_pb2.HealthCheckRequest(service="liveness")
OK = grpc.StatusCode.OK
TOKEN = (("authorization", f"Bearer {toy.TOKEN}"),)
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


async def failure_of(call: Any) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def code_of(call: Any) -> grpc.StatusCode:
    code: grpc.StatusCode = await call.code()
    return code


def details_of(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    """The details of an error by the names of their types."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None
    found = {}
    for packed in status.details:
        name = packed.TypeName().rpartition(".")[2]
        detail = getattr(error_details_pb2, name)()
        packed.Unpack(detail)
        found[name] = detail
    return found


def health_of(running: Running) -> Any:
    return health_pb2_grpc.HealthStub(running.plain)


async def hang() -> None:
    await asyncio.Event().wait()
