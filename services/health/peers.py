"""Admission, as health calls it: to set and lift fences."""

from __future__ import annotations

import asyncio
from typing import Final

import grpc

from chassis.server import deadline
from headgate.api.admission.v1 import admission_pb2_grpc
from services.health import wire
from services.health.domain.kills import Fence, KillSwitch
from services.health.kills import FenceUnavailableError

# Longest wait for one answer. Admission waits for the batches in flight before it answers.
FENCE_TIMEOUT_SECONDS: Final = 3.0
# A replica that is going away refuses once; the channel has another for the second attempt.
ATTEMPT_COUNT_MAX: Final = 2


class AdmissionFences:
    """Sets fences at any replica of admission; they share one database."""

    def __init__(
        self, channel: grpc.aio.Channel, *, timeout_seconds: float = FENCE_TIMEOUT_SECONDS
    ) -> None:
        self._stub: admission_pb2_grpc.AdmissionServiceAsyncStub = (
            admission_pb2_grpc.AdmissionServiceStub(channel)
        )
        self._timeout_seconds = timeout_seconds

    async def put(self, switch: KillSwitch) -> Fence:
        """Sets or lifts the fence as the switch wants; returns the fence as it then is.

        Raises FenceUnavailableError after any failure: then nobody knows what was done, and
        repeating it is safe.
        """
        request = wire.render_fence(switch)
        for attempt in range(1, ATTEMPT_COUNT_MAX + 1):
            try:
                response = await self._stub.SetFence(request, timeout=self._timeout())
                return wire.parse_fence(response)
            except grpc.aio.AioRpcError as error:
                away = error.code() is grpc.StatusCode.UNAVAILABLE
                if attempt == ATTEMPT_COUNT_MAX or not away:
                    text = f"{error.code().name}: {error.details()}"
                    raise FenceUnavailableError(text) from error
        raise AssertionError("the last attempt answers or raises")

    def _timeout(self) -> float:
        end = deadline()
        if end is None:
            return self._timeout_seconds
        remaining = end - asyncio.get_running_loop().time()
        return max(0.0, min(self._timeout_seconds, remaining))
