"""What surrounds every RPC method, applied once when it is registered.

Outside in: telemetry, errors, authentication, deadline, decoding, authorization, the method.
Interceptors would do the same at a price per call; a method wrapped beforehand pays for what it
uses.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import grpc
from google.protobuf.message import DecodeError
from grpc_status import rpc_status
from opentelemetry import trace
from opentelemetry.context import attach
from opentelemetry.trace import Span, StatusCode

from chassis.errors import (
    DeadlineExceeded,
    DeadlineTooShort,
    Draining,
    FieldViolation,
    InvalidArgument,
    Overloaded,
    Unimplemented,
    translate,
)
from chassis.telemetry import RecordRpc, Telemetry

# What a unary call gets whose client set no deadline.
DEFAULT_DEADLINE_SECONDS: Final = 10.0
# Less than this cannot reach the database and come back.
DEADLINE_SECONDS_MIN: Final = 0.002

Metadata = Mapping[str, str]
# Quoted: these are generic for the type checker only.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_Body = Callable[[bytes, dict[str, Any], Context], Awaitable[Any]]

_principal: ContextVar[object] = ContextVar("principal")
_deadline: ContextVar[float | None] = ContextVar("deadline", default=None)
# The library reads an RPC's metadata to find its method; reading it again would cost as much.
_metadata: ContextVar[tuple[tuple[str, Any], ...]] = ContextVar("metadata", default=())


class Authenticator(Protocol):
    """Tells who calls."""

    async def __call__(self, metadata: Metadata, method: str) -> object:
        """Returns the principal; raises Unauthenticated or PermissionDenied."""


class Authorizer(Protocol):
    """Tells whether a caller may do what the request asks for."""

    def __call__(self, principal: object, method: str, request: Any, /) -> None:
        """Raises PermissionDenied."""


class Observer(Protocol):
    """Hears of each RPC when it has ended."""

    def __call__(self, principal: object | None, method: str, code: grpc.StatusCode, /) -> None:
        """`principal`: None if the caller was not let in. Must not fail, nor take long."""


def principal() -> object:
    """Returns who makes the current RPC. Raises LookupError outside of one."""
    return _principal.get()


def deadline() -> float | None:
    """Returns the loop time at which the current RPC ends; None outside of one, and in a stream
    whose client set none.
    """
    return _deadline.get()


def metadata() -> Metadata:
    """Returns the metadata of the current RPC; nothing outside of one."""
    return dict(_metadata.get())


class Methods(grpc.GenericRpcHandler):
    """Finds a method by one look-up, however many services there are."""

    def __init__(self) -> None:
        # Wrapped handlers by the full name of their method, "/package.Service/Method".
        self.handlers: dict[str, Handler] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        """Returns the handler. Called by the library in the task that then runs it."""
        _metadata.set(handler_call_details.invocation_metadata)
        return self.handlers.get(handler_call_details.method)


class Traffic:
    """Counts the RPCs in progress and ends the streams when the server drains."""

    def __init__(self, *, rpc_count_max: int) -> None:
        self.rpc_count = 0
        self.rpc_count_max = rpc_count_max
        self.draining = False
        self.streams: set[asyncio.Timeout] = set()

    def drain(self) -> None:
        """Ends every stream with `Draining`; unary calls go on to their ends."""
        self.draining = True
        now = asyncio.get_running_loop().time()
        for stream in self.streams:
            stream.reschedule(now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wrapper:
    """Wraps the methods of one service."""

    telemetry: Telemetry
    traffic: Traffic
    service_name: str
    # None: anybody may call.
    authenticate: Authenticator | None
    # None: whoever may begin a method may ask it for anything.
    authorize: Authorizer | None = None
    # None: nobody wants to hear.
    observe: Observer | None = None
    # False: served under overload too, and not counted.
    is_shed: bool = True

    def wrap(self, name: str, handler: Handler) -> Handler:
        """Returns the handler to register. It takes raw bytes, so that decoding fails inside."""
        if handler.request_streaming:
            raise TypeError(f"{self.service_name}/{name}: streams of requests are not served")
        call = handler.unary_stream if handler.response_streaming else handler.unary_unary
        rpc = _Rpc(
            wrapped_by=self,
            method=f"/{self.service_name}/{name}",
            call=call,
            decode=handler.request_deserializer,
            record=self.telemetry.rpc_recorder(service=self.service_name, method=name),
        )
        if handler.response_streaming:
            return grpc.unary_stream_rpc_method_handler(
                rpc.answer_stream, None, handler.response_serializer
            )
        return grpc.unary_unary_rpc_method_handler(
            rpc.answer_unary, None, handler.response_serializer
        )


class _Rpc:
    """One method with all that surrounds it."""

    def __init__(
        self, *, wrapped_by: Wrapper, method: str, call: Any, decode: Any, record: RecordRpc
    ) -> None:
        self._telemetry = wrapped_by.telemetry
        self._traffic = wrapped_by.traffic
        self._authenticate = wrapped_by.authenticate
        self._authorize = wrapped_by.authorize
        self._observe = wrapped_by.observe
        self._is_shed = wrapped_by.is_shed
        # What is never shed takes no place of what may be.
        self._weight = int(wrapped_by.is_shed)
        self._method = method
        self._decode = decode
        self._record = record
        self._is_served = inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call)
        self._call = call

    async def answer_unary(self, raw: bytes, context: Context) -> Any:
        return await self._answer(self._unary, raw, context)

    async def answer_stream(self, raw: bytes, context: Context) -> Any:
        return await self._answer(self._stream, raw, context)

    async def _answer(self, body: _Body, raw: bytes, context: Context) -> Any:
        started = time.perf_counter()
        code = grpc.StatusCode.CANCELLED
        span = None
        self._traffic.rpc_count += self._weight
        try:
            shown = dict(_metadata.get())
            if self._telemetry.is_sampled(shown):
                span = self._begin_span(shown)
            answer = await body(raw, shown, context)
            code = grpc.StatusCode.OK
            return answer
        except Exception as error:  # noqa: BLE001 - the one place where failures become statuses
            failure = translate(error)
            code = failure.code
            await context.abort_with_status(rpc_status.to_status(failure.to_status()))
        finally:
            self._traffic.rpc_count -= self._weight
            self._record(time.perf_counter() - started, code)
            if self._observe is not None:
                self._observe(_principal.get(None), self._method, code)
            if span is not None:
                _end_span(span, code)

    async def _unary(self, raw: bytes, metadata: dict[str, Any], context: Context) -> Any:
        remaining = await self._admit(metadata, context)
        loop = asyncio.get_running_loop()
        if remaining is not None:
            # The transport ends the call at its client's deadline; no timer of ours is needed.
            _deadline.set(loop.time() + remaining)
            return await self._call(self._parse(raw), context)
        limit = loop.time() + DEFAULT_DEADLINE_SECONDS
        _deadline.set(limit)
        request = self._parse(raw)
        scope = asyncio.timeout_at(limit)
        try:
            async with scope:
                return await self._call(request, context)
        except TimeoutError:
            if scope.expired():
                raise DeadlineExceeded(DEFAULT_DEADLINE_SECONDS) from None
            raise

    async def _stream(self, raw: bytes, metadata: dict[str, Any], context: Context) -> None:
        remaining = await self._admit(metadata, context)
        now = asyncio.get_running_loop().time()
        _deadline.set(None if remaining is None else now + remaining)
        request = self._parse(raw)
        scope = asyncio.timeout_at(now if self._traffic.draining else None)
        self._traffic.streams.add(scope)
        try:
            async with scope, aclosing(self._call(request, context)) as messages:
                async for message in messages:
                    await context.write(message)
        except TimeoutError:
            if scope.expired():
                raise Draining from None
            raise
        finally:
            self._traffic.streams.discard(scope)

    async def _admit(self, metadata: dict[str, Any], context: Context) -> float | None:
        """Returns the seconds that remain, None if the client set no deadline."""
        if self._is_shed and self._traffic.rpc_count > self._traffic.rpc_count_max:
            raise Overloaded
        if self._authenticate is not None:
            _principal.set(await self._authenticate(metadata, self._method))
        if not self._is_served:
            raise Unimplemented(self._method)
        # Typed as a float, but None without a deadline.
        remaining: float | None = context.time_remaining()
        if remaining is not None and remaining < DEADLINE_SECONDS_MIN:
            raise DeadlineTooShort
        return remaining

    def _parse(self, raw: bytes) -> Any:
        try:
            request = self._decode(raw)
        except DecodeError:
            violation = FieldViolation("", "cannot be decoded: texts are UTF-8, see the contract")
            raise InvalidArgument([violation]) from None
        if self._authorize is not None:
            self._authorize(_principal.get(), self._method, request)
        return request

    def _begin_span(self, metadata: dict[str, Any]) -> Span:
        span = self._telemetry.start_rpc_span(self._method, metadata)
        # Never detached: the RPC's task has a context of its own, which ends with it.
        attach(trace.set_span_in_context(span))
        return span


def _end_span(span: Span, code: grpc.StatusCode) -> None:
    span.set_attribute("rpc.grpc.status_code", code.value[0])
    if code is not grpc.StatusCode.OK:
        span.set_status(StatusCode.ERROR, code.name)
    span.end()
