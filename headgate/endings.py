"""How a call ends for Headgate: a report or a release, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from headgate.api.gateway.v1 import gateway_pb2

if TYPE_CHECKING:
    from headgate.connection import Connection
    from headgate.decisions import Receipt
    from headgate.tracing import CallSpan

Request: TypeAlias = "gateway_pb2.CompleteCallRequest | gateway_pb2.ReleaseCallRequest"


@dataclass(slots=True, kw_only=True)
class Ending:
    """The end of one call, on its way to the books."""

    call_id: str
    operation: str
    request: Request
    span: CallSpan | None = field(default=None, repr=False)
    # What was booked. None: nothing yet, or released, or unknown.
    receipt: Receipt | None = None
    # Why it could not be delivered.
    error: Exception | None = None

    async def send(self, connection: Connection) -> None:
        """Returns when it is durable. Raises RpcError if it is not known to be."""
        if isinstance(self.request, gateway_pb2.CompleteCallRequest):
            self.receipt = await connection.complete(self.request, span=self.span)
        else:
            await connection.release(self.request, span=self.span)
