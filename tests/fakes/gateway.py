"""A gateway in memory, behind a real gRPC server: ids, holds and denials as the contract says.

Tests plant faults by kind of RPC ("admit", "complete", "release", "status"; a batch counts as
its single form) and read `rpcs` and `ledger` afterwards.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from headgate.api.common.v1 import health_pb2
from headgate.api.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from tests.fakes.entries import Refusal
from tests.fakes.faults import Failure, Faults, apply
from tests.fakes.ledger import Ledger

if TYPE_CHECKING:
    Context = grpc.aio.ServicerContext[Any, Any]

BATCH_SIZE_MAX = 256
# Bounds a test that has gone wrong.
WAIT_SECONDS_MAX = 10.0
API_KEY = "hg_k1_0123456789abcdef"


@dataclass(slots=True)
class FakeGateway(gateway_pb2_grpc.GatewayServiceServicer):
    """Answers like a gateway. One org per key unless told otherwise."""

    ledger: Ledger = field(default_factory=Ledger)
    faults: Faults = field(default_factory=Faults)
    keys: dict[str, tuple[str, ...]] = field(default_factory=lambda: {API_KEY: ("acme",)})
    # Method and number of its members, in the order of arrival.
    rpcs: list[tuple[str, int]] = field(default_factory=list)
    target: str = ""
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def wait_for_end(self, call_id: str) -> None:
        """Returns when the call is finished."""
        await self._wait_until(lambda: self._is_ended(call_id))

    async def wait_for_rpc(self, method: str, *, count: int = 1) -> None:
        """Returns when the method has been called so often."""
        await self._wait_until(lambda: self.count(method) >= count)

    def count(self, method: str) -> int:
        return sum(1 for each, _ in self.rpcs if each == method)

    async def _wait_until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_SECONDS_MAX), self._changed:
            await self._changed.wait_for(holds)

    def _is_ended(self, call_id: str) -> bool:
        return any(
            each.call_id == call_id and each.state is not None
            for each in self.ledger.entries.values()
        )

    async def AdmitCall(  # noqa: N802 - the contract's name
        self, request: gateway_pb2.AdmitCallRequest, context: Context
    ) -> gateway_pb2.AdmitCallResponse:
        async with self._serve("AdmitCall", "admit", [request], context) as orgs:
            decision = self.ledger.admit(request, _choose(request.org, orgs))
        return gateway_pb2.AdmitCallResponse(decision=decision)

    async def AdmitCalls(  # noqa: N802 - the contract's name
        self, request: gateway_pb2.AdmitCallsRequest, context: Context
    ) -> gateway_pb2.AdmitCallsResponse:
        answer = gateway_pb2.AdmitCallsResponse()
        async with self._serve("AdmitCalls", "admit", request.calls, context) as orgs:
            for each in request.calls:
                try:
                    answer.decisions.append(self.ledger.admit(each, _choose(each.org, orgs)))
                except Refusal as refusal:
                    answer.decisions.add(error=refusal.to_message())
        return answer

    async def CompleteCall(  # noqa: N802 - the contract's name
        self, request: gateway_pb2.CompleteCallRequest, context: Context
    ) -> gateway_pb2.CompleteCallResponse:
        async with self._serve("CompleteCall", "complete", [request], context) as orgs:
            receipt = self.ledger.complete(request, orgs)
        return gateway_pb2.CompleteCallResponse(receipt=receipt)

    async def CompleteCalls(  # noqa: N802 - the contract's name
        self, request: gateway_pb2.CompleteCallsRequest, context: Context
    ) -> gateway_pb2.CompleteCallsResponse:
        answer = gateway_pb2.CompleteCallsResponse()
        async with self._serve("CompleteCalls", "complete", request.calls, context) as orgs:
            for each in request.calls:
                try:
                    answer.results.add(receipt=self.ledger.complete(each, orgs))
                except Refusal as refusal:
                    answer.results.add(error=refusal.to_message())
        return answer

    async def ReleaseCall(  # noqa: N802 - the contract's name
        self, request: gateway_pb2.ReleaseCallRequest, context: Context
    ) -> gateway_pb2.ReleaseCallResponse:
        async with self._serve("ReleaseCall", "release", [request], context) as orgs:
            finished = self.ledger.release(request, orgs)
        return gateway_pb2.ReleaseCallResponse(finished=finished)

    async def GetStatus(  # noqa: N802 - the contract's name
        self, request: gateway_pb2.GetStatusRequest, context: Context
    ) -> gateway_pb2.GetStatusResponse:
        answer = gateway_pb2.GetStatusResponse(state=gateway_pb2.SERVICE_STATE_HEALTHY)
        async with self._serve("GetStatus", "status", [request], context):
            for provider in sorted(self.ledger.unfit_providers):
                answer.state = gateway_pb2.SERVICE_STATE_DEGRADED
                answer.providers.add(provider=provider, state=health_pb2.BREAKER_STATE_OPEN)
            if self.ledger.killed:
                answer.state = gateway_pb2.SERVICE_STATE_STOPPED
                answer.kills.add(
                    kill_id="platform", state=health_pb2.KILL_STATE_IN_FORCE, message="Stopped."
                )
        return answer

    @contextlib.asynccontextmanager
    async def _serve(
        self, method: str, kind: str, members: Sequence[object], context: Context
    ) -> AsyncIterator[tuple[str, ...]]:
        """Authenticates, applies faults around the effect, turns a refusal into a status."""
        self.rpcs.append((method, len(members)))
        await self._tell()
        fault = self.faults.take(kind)
        await apply(fault, after=False, context=context)
        try:
            orgs = self._authenticate(context)
            if not 1 <= len(members) <= BATCH_SIZE_MAX:
                raise Refusal(
                    grpc.StatusCode.INVALID_ARGUMENT,
                    "INVALID_ARGUMENT",
                    violations=(("calls", f"must have 1 to {BATCH_SIZE_MAX} members"),),
                )
            yield orgs
        except Refusal as refusal:
            await Failure(
                code=refusal.code,
                reason=refusal.reason,
                message=str(refusal),
                metadata=refusal.metadata,
                violations=refusal.violations,
            ).abort(context)
        await self._tell()
        await apply(fault, after=True, context=context)

    def _authenticate(self, context: Context) -> tuple[str, ...]:
        metadata = dict(context.invocation_metadata() or ())
        key = str(metadata.get("authorization", "")).removeprefix("Bearer ")
        if key not in self.keys:
            raise Refusal(grpc.StatusCode.UNAUTHENTICATED, "UNAUTHENTICATED")
        return self.keys[key]

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def _choose(org: str, orgs: tuple[str, ...]) -> str:
    if org and org not in orgs:
        raise Refusal(grpc.StatusCode.NOT_FOUND, "ORG_NOT_FOUND", org=org)
    return org or orgs[0]


@contextlib.asynccontextmanager
async def serve_gateway(fake: FakeGateway | None = None) -> AsyncIterator[FakeGateway]:
    """Serves the fake on this machine, where it was served before, else on a free port.

    `target` tells where. Leaving cuts all connections at once, as a killed gateway does.
    """
    fake = fake or FakeGateway()
    server = grpc.aio.server()
    gateway_pb2_grpc.add_GatewayServiceServicer_to_server(fake, server)
    port = server.add_insecure_port(fake.target or "127.0.0.1:0")
    fake.target = f"127.0.0.1:{port}"
    await server.start()
    try:
        yield fake
    finally:
        await server.stop(grace=0)
