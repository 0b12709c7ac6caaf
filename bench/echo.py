"""The baseline: a bare `grpc.aio` server that answers the gateway's messages with fixed ones.

Run as `python -m bench.echo`, with an `AdmitCallResponse` in hexadecimal on its standard input.
Prints its port. It decodes and encodes the same messages over the same transport as the gateway
and does nothing else: no authentication, no database, no second hop, no other event loop than
Python's own, on which the load runs too.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any, TypeAlias

import grpc

from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import gateway_pb2 as pb
from headgate.api.gateway.v1 import gateway_pb2_grpc

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"


class Echo(gateway_pb2_grpc.GatewayServiceServicer):
    """Answers every call with the same admission, and every report with the same receipt."""

    def __init__(self, answer: pb.AdmitCallResponse) -> None:
        self._answer = answer
        self._receipt = pb.CallReceipt(
            call_id=answer.decision.admission.call_id,
            total_nanos=answer.decision.admission.held_nanos,
            cost_basis=call_pb2.COST_BASIS_METERS,
        )
        self._result = pb.CompletionResult(receipt=self._receipt)

    async def AdmitCall(  # noqa: N802 - the contract's name
        self, request: pb.AdmitCallRequest, context: Context
    ) -> pb.AdmitCallResponse:
        """Answers at once."""
        return self._answer

    async def AdmitCalls(  # noqa: N802 - the contract's name
        self, request: pb.AdmitCallsRequest, context: Context
    ) -> pb.AdmitCallsResponse:
        """Answers at once, for each member."""
        return pb.AdmitCallsResponse(decisions=[self._answer.decision] * len(request.calls))

    async def CompleteCall(  # noqa: N802 - the contract's name
        self, request: pb.CompleteCallRequest, context: Context
    ) -> pb.CompleteCallResponse:
        """Answers at once."""
        return pb.CompleteCallResponse(receipt=self._receipt)

    async def CompleteCalls(  # noqa: N802 - the contract's name
        self, request: pb.CompleteCallsRequest, context: Context
    ) -> pb.CompleteCallsResponse:
        """Answers at once, for each member."""
        return pb.CompleteCallsResponse(results=[self._result] * len(request.calls))


async def serve(answer: pb.AdmitCallResponse) -> None:
    """Serves until the standard input closes: the parent's end is this process's end."""
    server = grpc.aio.server()
    # It serves four methods of several.
    echo = Echo(answer)  # type: ignore[abstract]
    gateway_pb2_grpc.add_GatewayServiceServicer_to_server(echo, server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    await server.start()
    await asyncio.to_thread(sys.stdin.read)
    await server.stop(None)


if __name__ == "__main__":
    fixed = pb.AdmitCallResponse.FromString(bytes.fromhex(sys.stdin.readline()))
    asyncio.run(serve(fixed))
