"""One channel to the gateways, with what is under way on it.

Calls that start or end at the same time share an RPC: see `headgate.batching`.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeAlias, TypeVar

import grpc.aio

from headgate import forks, wire
from headgate.api.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from headgate.batching import Batcher, BatcherClosedError, BatcherFullError
from headgate.deadlines import Deadlines
from headgate.decisions import Decision, FinishedCall, Receipt
from headgate.errors import (
    CallMisused,
    ClientClosed,
    DeadlineExceeded,
    Overloaded,
    Unavailable,
)
from headgate.failures import parse_failure
from headgate.retries import repeat
from headgate.tracing import CallSpan, propagate_spans

if TYPE_CHECKING:
    from headgate.api.gateway.v1.gateway_pb2_grpc import GatewayServiceAsyncStub

Metadata: TypeAlias = "tuple[tuple[str, str], ...]"
Q = TypeVar("Q")
R = TypeVar("R")

# With several gateways a slow one must not hold up the batches of the others.
FLIGHT_COUNT_MAX: Final = 4
# One try: a gateway that hangs is left for the next one, with the same id, while there is time.
# Longer than a gateway needs to leave a service that hangs for another replica of it.
TRY_SECONDS_MAX: Final = 3.0
# How long closing waits for ends under way; the rest is left to the background.
CLOSE_SECONDS_MAX: Final = 30.0
# What may be repeated. Whoever ran out of a try's time does not know whether it had an effect.
_RETRIED: Final = (Unavailable, Overloaded, DeadlineExceeded)


@dataclass(slots=True)
class _Message(Generic[Q]):
    """A request and the loop time after which nobody waits for its answer."""

    request: Q
    deadline: float
    span: CallSpan | None = None


class Connection:
    """Sends calls, reports and releases; repeats them while that is safe and in time.

    Belongs to the process and the event loop that made it.
    """

    def __init__(
        self,
        open_channel: Callable[[], grpc.aio.Channel],
        *,
        metadata: Metadata,
        report_seconds_max: float,
        linger_seconds: float = 0.0,
    ) -> None:
        self.process_id = os.getpid()
        self.loop = asyncio.get_running_loop()
        forks.note_open(self)
        self._channel = open_channel()
        self._metadata = metadata
        self._report_seconds_max = report_seconds_max
        self._stub: GatewayServiceAsyncStub = gateway_pb2_grpc.GatewayServiceStub(self._channel)
        self._owned: set[asyncio.Task[None]] = set()
        self._deadlines = Deadlines(self.loop)
        # When each caller that waits for a decision has given up at the latest.
        self._asking: dict[object, float] = {}
        # Done when nobody asks any more. None: it matters to `close` only.
        self._silence: asyncio.Future[None] | None = None
        self._admissions: Batcher[_Message[gateway_pb2.AdmitCallRequest], Decision] = Batcher(
            self._send_admissions, flight_count_max=FLIGHT_COUNT_MAX
        )
        self._reports: Batcher[_Message[gateway_pb2.CompleteCallRequest], Receipt] = Batcher(
            self._send_reports, flight_count_max=FLIGHT_COUNT_MAX, linger_seconds=linger_seconds
        )

    def is_foreign(self) -> bool:
        """Tells whether another process made it, or an event loop that has been closed since.

        Raises CallMisused in another event loop while its own one lives.
        """
        if self.process_id != os.getpid() or self.loop.is_closed():
            return True
        if self.loop is not asyncio.get_running_loop():
            raise CallMisused("a client serves one event loop; make one for each")
        return False

    @property
    def owned_count(self) -> int:
        """How many ends of calls are under way."""
        return len(self._owned)

    async def admit(
        self,
        request: gateway_pb2.AdmitCallRequest,
        *,
        deadline: float,
        span: CallSpan | None = None,
    ) -> Decision:
        """Returns the decision on one call, before the deadline (loop time).

        Raises RpcError; unless it is a definite answer, the call may have been admitted. Raises
        ClientClosed if `close` has begun: nobody could report the call.
        """

        async def attempt() -> Decision:
            bound = min(deadline, self.loop.time() + TRY_SECONDS_MAX)
            return await self._try(self._admissions, _Message(request, bound, span))

        self._asking[attempt] = deadline
        try:
            decision = await repeat(attempt, deadline=deadline, retried=_RETRIED)
        finally:
            del self._asking[attempt]
            if self._silence is not None and not self._asking and not self._silence.done():
                self._silence.set_result(None)
        if self._silence is not None:
            raise _closed()
        return decision

    async def complete(
        self, request: gateway_pb2.CompleteCallRequest, *, span: CallSpan | None = None
    ) -> Receipt:
        """Returns when the report is durable. Raises RpcError if it is not known to be."""

        async def send(bound: float) -> Receipt:
            return await self._try(self._reports, _Message(request, bound, span))

        return await self._insist(send)

    async def release(
        self, request: gateway_pb2.ReleaseCallRequest, *, span: CallSpan | None = None
    ) -> FinishedCall:
        """Returns when the hold has been returned. Raises RpcError if it is not known to be."""

        async def send(bound: float) -> FinishedCall:
            metadata = self._metadata + propagate_spans("ReleaseCall", [span])
            answer = await self._call(self._stub.ReleaseCall, request, bound, metadata)
            return wire.parse_finished(answer.finished)

        return await self._insist(send)

    async def ask(
        self,
        pick: Callable[[GatewayServiceAsyncStub], Callable[..., Awaitable[R]]],
        request: object,
        *,
        timeout: float,
    ) -> R:
        """Returns the answer of an RPC that is safe to repeat. Raises RpcError."""
        deadline, method = self.loop.time() + timeout, pick(self._stub)

        async def attempt() -> R:
            return await self._call(method, request, deadline, self._metadata)

        return await repeat(attempt, deadline=deadline)

    def begin(self, pick: Callable[..., Any], request: object, timeout: float | None) -> Any:
        """Begins a stream; whoever reads it ends it."""
        return pick(self._stub)(request, timeout=timeout, metadata=self._metadata)

    async def _call(
        self,
        method: Callable[..., Awaitable[R]],
        request: object,
        bound: float,
        metadata: Metadata,
    ) -> R:
        try:
            return await method(request, timeout=bound - self.loop.time(), metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise parse_failure(error) from None

    def own(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Starts work that outlives its caller's cancellation; `close` waits for it."""
        task = self.loop.create_task(work)
        self._owned.add(task)
        task.add_done_callback(self._owned.discard)
        return task

    async def close(self) -> None:
        """Returns when ends under way have been delivered, or at the latest after a while.

        Calls that are being admitted meanwhile are refused, and their holds returned.
        """
        self._silence = self._silence or self.loop.create_future()
        try:
            await self._admissions.close()
            if self._asking:
                # Who was abandoned in its wait, its task forgotten, never says that it has ended.
                longest = max(self._asking.values()) - self.loop.time()
                await asyncio.wait({self._silence}, timeout=max(longest, 0))
            await self._finish_owned()
            await self._reports.close()
        finally:
            forks.note_closed(self)
            await self._channel.close()

    async def _finish_owned(self) -> None:
        end = self.loop.time() + CLOSE_SECONDS_MAX
        while self._owned and self.loop.time() < end:
            await asyncio.wait(self._owned, timeout=end - self.loop.time())
        while self._owned:
            for task in self._owned:
                task.cancel()
            await asyncio.wait(self._owned)

    async def _insist(self, send: Callable[[float], Awaitable[R]]) -> R:
        """Repeats until it is delivered, and gives each try more time: networks may be slow."""
        deadline = self.loop.time() + self._report_seconds_max
        seconds = TRY_SECONDS_MAX / 2

        async def attempt() -> R:
            nonlocal seconds
            seconds *= 2
            return await send(min(deadline, self.loop.time() + seconds))

        return await repeat(attempt, deadline=deadline, retried=_RETRIED)

    async def _try(self, batcher: Batcher[_Message[Q], R], message: _Message[Q]) -> R:
        """Returns the member's answer, not later than its deadline."""
        try:
            answer = batcher.put(message, deadline=message.deadline)
        except BatcherFullError:
            raise Overloaded(
                "too many calls wait in this client", code="RESOURCE_EXHAUSTED"
            ) from None
        except BatcherClosedError:
            raise _closed() from None
        step = self._deadlines.add(answer, message.deadline)
        try:
            return await answer
        except TimeoutError:
            text = "there was no answer in time"
            raise DeadlineExceeded(text, code="DEADLINE_EXCEEDED") from None
        finally:
            self._deadlines.discard(answer, step)
            # Marks it as seen when our own caller was cancelled at the same time.
            _ = answer.cancel() or answer.cancelled() or answer.exception()

    async def _send_admissions(
        self, messages: Sequence[_Message[gateway_pb2.AdmitCallRequest]]
    ) -> Sequence[Decision | Exception]:
        requests = [each.request for each in messages]
        timeout, metadata = self._terms("AdmitCalls", messages)
        try:
            if len(requests) == 1:
                single = await self._stub.AdmitCall(
                    requests[0], timeout=timeout, metadata=metadata
                )
                return [wire.parse_decision(single.decision)]
            batch = gateway_pb2.AdmitCallsRequest(calls=requests)
            answer = await self._stub.AdmitCalls(batch, timeout=timeout, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            # One exception for each member: each is raised, and traced, by itself.
            return [parse_failure(error) for _ in messages]
        return [wire.parse_decision(each) for each in answer.decisions]

    async def _send_reports(
        self, messages: Sequence[_Message[gateway_pb2.CompleteCallRequest]]
    ) -> Sequence[Receipt | Exception]:
        requests = [each.request for each in messages]
        timeout, metadata = self._terms("CompleteCalls", messages)
        try:
            if len(requests) == 1:
                single = await self._stub.CompleteCall(
                    requests[0], timeout=timeout, metadata=metadata
                )
                return [wire.parse_receipt(single.receipt)]
            batch = gateway_pb2.CompleteCallsRequest(calls=requests)
            answer = await self._stub.CompleteCalls(batch, timeout=timeout, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            return [parse_failure(error) for _ in messages]
        return [wire.parse_completion(each) for each in answer.results]

    def _terms(self, method: str, messages: Sequence[_Message[Any]]) -> tuple[float, Metadata]:
        """Returns the timeout and the metadata of an RPC that carries these."""
        timeout = max(each.deadline for each in messages) - self.loop.time()
        return timeout, self._metadata + propagate_spans(method, [each.span for each in messages])


def _closed() -> ClientClosed:
    return ClientClosed("the client is closed")
