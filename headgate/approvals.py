"""A person's leave for one call: asked for, waited for, and taken to the call."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

import grpc.aio

from headgate import wire
from headgate.api.gateway.v1 import approval_pb2, gateway_pb2
from headgate.call import Call
from headgate.errors import DeadlineExceeded, Overloaded, Unavailable
from headgate.failures import parse_failure

if TYPE_CHECKING:
    from headgate.client import Session
    from headgate.connection import Connection
    from headgate.plan import Plan

# Before a stream that was lost is opened again.
PAUSE_SECONDS: Final = 0.5
_LOST: Final = (Unavailable, DeadlineExceeded, Overloaded)


class ApprovalState(enum.Enum):
    """What became of a request."""

    PENDING = "PENDING"
    APPROVED = "APPROVED"
    REJECTED = "REJECTED"
    # Its time passed before anybody decided.
    EXPIRED = "EXPIRED"
    UNRECOGNIZED = "UNRECOGNIZED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One request for leave, and what became of it."""

    approval_id: str
    org: str
    # The call that it is for.
    call_id: str
    operation: str
    # What the call is for.
    summary: str
    state: ApprovalState
    # The most that the call may hold, in nano-US-dollars.
    cost_nanos_max: int
    # From then on it can neither be decided nor used.
    expire_time: datetime
    # Who decided, and why. Empty: nobody, and they did not say.
    decider: str
    reason: str

    @property
    def approved(self) -> bool:
        """True if the call may be made, as far as limits let it."""
        return self.state is ApprovalState.APPROVED


class PendingApproval:
    """A call that waits for a person. Needs not be closed: nothing is held."""

    def __init__(self, approval: Approval, session: Session, plan: Plan) -> None:
        # The request as it was last seen.
        self.approval = approval
        self._session = session
        # The call with its leave.
        self.plan: Final = replace(plan, approval_id=approval.approval_id)

    def call(self) -> Call:
        """Returns the call that the leave is for, to enter as any other; denied without leave."""
        return Call(self.plan, self._session.desk)

    async def wait(self, timeout_seconds: float | None = None) -> Approval:
        """Returns the request when it was decided or expired, or as it is after the time. Raises
        RpcError.
        """
        self.approval = await self._session.await_approval(
            self.approval.approval_id, org=self.approval.org, timeout_seconds=timeout_seconds
        )
        return self.approval

    def on_decided(self, callback: Callable[[Approval], object]) -> asyncio.Task[None]:
        """Calls back when it was decided or expired. Keep the task: it is the wait."""

        async def tell() -> None:
            callback(await self.wait())

        return asyncio.get_running_loop().create_task(tell())


async def ask(
    connection: Connection, plan: Plan, *, summary: str, lifetime_seconds: float | None
) -> Approval | None:
    """Asks people for leave to make the planned call. None: it needs none. Raises RpcError."""
    request = gateway_pb2.RequestApprovalRequest(
        call=plan.to_request(), summary=summary, lifetime=wire.render_duration(lifetime_seconds)
    )
    answer = await connection.ask(
        lambda stub: stub.RequestApproval, request, timeout=plan.timeout_seconds
    )
    return parse_approval(answer.approval) if answer.HasField("approval") else None


async def wait(
    connect: Callable[[], Connection], approval_id: str, *, org: str, timeout: float | None
) -> Approval:
    """Returns the request when it was decided or has expired, or as it is after `timeout` seconds;
    a stream that is lost is opened again, at any gateway. Raises RpcError.
    """
    loop = asyncio.get_running_loop()
    until = None if timeout is None else loop.time() + timeout
    last: Approval | None = None
    while True:
        left = None if until is None else max(until - loop.time(), 0.0)
        try:
            states = _follow(connect(), approval_id, org=org, timeout=left)
            async with aclosing(states):
                async for last in states:
                    if last.state is not ApprovalState.PENDING:
                        return last
        except _LOST:
            if until is not None and loop.time() >= until:
                if last is None:
                    raise
                return last
        await asyncio.sleep(PAUSE_SECONDS)


async def _follow(
    connection: Connection, approval_id: str, *, org: str, timeout: float | None
) -> AsyncGenerator[Approval, None]:
    request = gateway_pb2.AwaitApprovalRequest(approval_id=approval_id, org=org)
    stream = connection.begin(lambda stub: stub.AwaitApproval, request, timeout)
    try:
        async for state in stream:
            yield parse_approval(state.approval)
    except grpc.aio.AioRpcError as error:
        raise parse_failure(error) from None
    finally:
        stream.cancel()


def parse_approval(message: approval_pb2.Approval) -> Approval:
    """Returns the request."""
    return Approval(
        approval_id=message.approval_id,
        org=message.org,
        call_id=message.call_id,
        operation=message.operation,
        summary=message.summary,
        state=wire.parse_enum(ApprovalState, approval_pb2.ApprovalState.DESCRIPTOR, message.state),
        cost_nanos_max=message.cost_nanos_max,
        expire_time=wire.parse_time(message.expire_time),
        decider=message.decider,
        reason=message.reason,
    )
