"""What a fake gateway can be told to do wrong, and when."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from headgate.testing.signals import Signal

if TYPE_CHECKING:
    from collections.abc import Mapping

    Context = grpc.aio.ServicerContext[Any, Any]

_STATUS_DETAILS_KEY: Final = "grpc-status-details-bin"


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
        """Ends a served RPC with this status."""
        await context.abort(self.code, self.message, trailing_metadata=self._trailing_metadata())

    def to_error(self) -> grpc.aio.AioRpcError:
        """Returns what a client of a served RPC would get."""
        trailing = grpc.aio.Metadata(*self._trailing_metadata())
        return grpc.aio.AioRpcError(self.code, grpc.aio.Metadata(), trailing, self.message)

    def _trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        info = error_details_pb2.ErrorInfo(
            reason=self.reason, domain="headgate", metadata=self.metadata
        )
        details = [info]
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
        return ((_STATUS_DETAILS_KEY, status.SerializeToString()),)


class FailedError(Exception):
    """Ends an RPC of the fake with a failure, however it is reached."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure)
        self.failure = failure


@dataclass(slots=True, kw_only=True)
class Pause:
    """Holds an RPC until `resume` is set. `after` holds the answer: the effect has happened."""

    after: bool = False
    reached: Signal = field(default_factory=Signal)
    resume: Signal = field(default_factory=Signal)

    async def hold(self) -> None:
        """Says that the RPC is here, and waits."""
        self.reached.set()
        await self.resume.wait()


class Faults:
    """Faults by kind of RPC, each used once, in the order in which they were planted."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, deque[Failure | Pause]] = defaultdict(deque)

    def plant(self, kind: str, *faults: Failure | Pause) -> None:
        """Lets the next RPCs of a kind meet these faults, one each."""
        self._waiting[kind].extend(faults)

    def pause(self, kind: str, *, after: bool = False) -> Pause:
        """Plants a pause and returns it."""
        pause = Pause(after=after)
        self.plant(kind, pause)
        return pause

    def take(self, kind: str) -> Failure | Pause | None:
        """Returns what the next RPC of a kind meets, and forgets it."""
        waiting = self._waiting[kind]
        return waiting.popleft() if waiting else None


async def apply(fault: Failure | Pause | None, *, after: bool) -> None:
    """Does what the fault says, if this is its time. Raises FailedError."""
    if fault is None or fault.after is not after:
        return
    if isinstance(fault, Pause):
        await fault.hold()
    else:
        raise FailedError(fault)
