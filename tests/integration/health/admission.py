"""Stands in for admission where a kill needs it: a real server with one fence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import grpc

from headgate.api.admission.v1 import admission_pb2 as pb
from headgate.api.admission.v1 import admission_pb2_grpc

# Many times what anything here needs: a test that waits for nothing fails instead of hanging.
PATIENCE_SECONDS: Final = 30.0


class StandIn(admission_pb2_grpc.AdmissionServiceServicer):
    """Keeps fences as the contract says: of each the highest sequence wins."""

    def __init__(self) -> None:
        self._fences: dict[str, pb.SetFenceResponse] = {}
        self.requests: list[pb.SetFenceRequest] = []
        self.authorizations: list[str] = []
        # Codes that the next RPCs fail with, before anything is done.
        self.failures: list[grpc.StatusCode] = []
        # Breaks the contract: answers, but sets nothing.
        self.is_deaf = False
        # Cleared: a fence is set, but nobody is told.
        self.answers = asyncio.Event()
        self.answers.set()
        # Has the sequence of each request that arrived and did not fail.
        self._arrivals: asyncio.Queue[int] = asyncio.Queue()

    @property
    def fence(self) -> pb.SetFenceResponse:
        """The fence of all calls."""
        return self._fences.setdefault("platform", pb.SetFenceResponse())

    @fence.setter
    def fence(self, fence: pb.SetFenceResponse) -> None:
        self._fences["platform"] = fence

    async def arrived(self) -> int:
        """Waits for the next request that does not fail and returns its sequence."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._arrivals.get()

    async def SetFence(  # noqa: N802 - the contract's name
        self, request: pb.SetFenceRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.SetFenceResponse:
        metadata = dict(context.invocation_metadata() or ())
        self.authorizations.append(str(metadata.get("authorization")))
        self.requests.append(request)
        if self.failures:
            await context.abort(self.failures.pop(0), "as the test wants")
        known = self._fences.get(request.fence_id, pb.SetFenceResponse())
        if request.sequence > known.sequence and not self.is_deaf:
            known = pb.SetFenceResponse(sequence=request.sequence, active=request.active)
            self._fences[request.fence_id] = known
        answer = known
        self._arrivals.put_nowait(request.sequence)
        await self.answers.wait()
        return answer


@asynccontextmanager
async def serve_admission(stand_in: StandIn, *, port: int = 0) -> AsyncIterator[str]:
    """Serves the stand-in and yields its address."""
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
    admission_pb2_grpc.add_AdmissionServiceServicer_to_server(stand_in, server)
    bound = server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    try:
        yield f"127.0.0.1:{bound}"
    finally:
        await server.stop(None)
