"""Asks a server whether it is ready for calls."""

from __future__ import annotations

from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

ANSWER_SECONDS_MAX: Final = 2.0
READINESS: Final = "readiness"


def is_ready(address: str) -> bool:
    """Whether the server at the address answers that it takes calls."""
    with grpc.insecure_channel(address) as channel:
        request = health_pb2.HealthCheckRequest(service=READINESS)
        # Its type hints do not know the methods.
        stub: Any = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(request, timeout=ANSWER_SECONDS_MAX)
        except grpc.RpcError:
            return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
