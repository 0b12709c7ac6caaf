"""What a fake server can be told to do wrong, and when."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]
from grpc_status import rpc_status

if TYPE_CHECKING:
    from collections.abc import Mapping

    Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A status with details. `after` fails the answer only: the effect has happened."""

    code: grpc.StatusCode
    reason: str = ""
    message: str = "planted"
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: tuple[tuple[str, str], ...] = ()
    retry_delay: timedelta | None = None
    after: bool = False

    async def abort(self, context: Context) -> None:
        details = [
            error_details_pb2.ErrorInfo(
                reason=self.reason, domain="headgate", metadata=self.metadata
            )
        ]
        if self.violations:
            each = error_details_pb2.BadRequest.FieldViolation
            details.append(
                error_details_pb2.BadRequest(
                    field_violations=[each(field=f, description=d) for f, d in self.violations]
                )
            )
        if self.retry_delay is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromTimedelta(self.retry_delay)
            details.append(retry)
        status = status_pb2.Status(code=self.code.value[0], message=self.message)
        for detail in details:
            packed = AnyMessage()
            packed.Pack(detail)
            status.details.append(packed)
        await context.abort_with_status(rpc_status.to_status(status))


@dataclass(slots=True, kw_only=True)
class Pause:
    """Holds an RPC until `resume` is set. `after` holds the answer: the effect has happened."""

    after: bool = False
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    resume: asyncio.Event = field(default_factory=asyncio.Event)

    async def hold(self) -> None:
        self.reached.set()
        await self.resume.wait()


class Faults:
    """Faults by kind of RPC, each used once, in the order in which they were planted."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, deque[Failure | Pause]] = defaultdict(deque)

    def plant(self, kind: str, *faults: Failure | Pause) -> None:
        self._waiting[kind].extend(faults)

    def pause(self, kind: str, *, after: bool = False) -> Pause:
        pause = Pause(after=after)
        self.plant(kind, pause)
        return pause

    def take(self, kind: str) -> Failure | Pause | None:
        waiting = self._waiting[kind]
        return waiting.popleft() if waiting else None


async def apply(fault: Failure | Pause | None, *, after: bool, context: Context) -> None:
    """Does what the fault says, if this is its time."""
    if fault is None or fault.after is not after:
        return
    if isinstance(fault, Pause):
        await fault.hold()
    else:
        await fault.abort(context)
