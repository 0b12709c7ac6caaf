"""Questions about calls, and words about running ones, that may be repeated as they are."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import grpc.aio

from headgate import wire_outlooks
from headgate.api.gateway.v1 import gateway_pb2
from headgate.failures import parse_failure
from headgate.wire import render_duration

if TYPE_CHECKING:
    from headgate.connection import Connection
    from headgate.outlooks import Estimate, Extension, LimitsState
    from headgate.plan import Plan


async def extend(
    connection: Connection,
    *,
    permit: bytes = b"",
    org: str = "",
    call_id: str = "",
    seconds: float | None,
    timeout: float,
) -> Extension:
    """Prolongs the hold of a running call, named by its permit or by org and id. Raises RpcError.

    `seconds` None: as long as the operation's calls may take.
    """
    request = gateway_pb2.ExtendCallRequest(
        permit=permit, org=org, call_id=call_id, hold_duration=render_duration(seconds)
    )
    return wire_outlooks.parse_extension(
        await connection.ask(lambda stub: stub.ExtendCall, request, timeout=timeout)
    )


async def estimate(connection: Connection, plan: Plan) -> Estimate:
    """Returns what the planned call would hold. Raises RpcError."""
    request = gateway_pb2.EstimateCostRequest(call=plan.to_request())
    answer = await connection.ask(
        lambda stub: stub.EstimateCost, request, timeout=plan.timeout_seconds
    )
    return wire_outlooks.parse_estimate(answer)


async def watch_limits(
    connection: Connection, call: gateway_pb2.AdmitCallRequest
) -> AsyncGenerator[LimitsState, None]:
    """Yields the limits that apply to the call, at once and when they change. Raises RpcError."""
    request = gateway_pb2.WatchLimitsRequest(call=call)
    stream = connection.begin(lambda stub: stub.WatchLimits, request, None)
    try:
        async for state in stream:
            yield wire_outlooks.parse_limits(state)
    except grpc.aio.AioRpcError as error:
        raise parse_failure(error) from None
    finally:
        stream.cancel()
