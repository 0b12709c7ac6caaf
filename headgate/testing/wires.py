"""Two ways to a fake gateway: a channel that never leaves the process, and a real server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

import grpc
import grpc.aio
from google.protobuf.message_factory import GetMessageClass

from headgate.api.gateway.v1 import gateway_pb2
from headgate.testing.faults import FailedError, Failure

if TYPE_CHECKING:
    from google.protobuf.message import Message

SERVICE: Final = gateway_pb2.DESCRIPTOR.services_by_name["GatewayService"]

# Answers one RPC by its method's name, its request and the caller's metadata.
Answer: TypeAlias = "Callable[[str, Any, dict[str, str]], Awaitable[Message]]"
# Answers a streaming RPC.
Stream: TypeAlias = "Callable[[str, Any, dict[str, str]], AsyncIterator[Message]]"
_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_LATE: Final = Failure(code=grpc.StatusCode.DEADLINE_EXCEEDED, message="no answer in time")
_MISSING: Final = Failure(code=grpc.StatusCode.UNIMPLEMENTED, message="the fake has no such RPC")


def open_local_channel(answer: Answer, stream: Stream) -> grpc.aio.Channel:
    """Returns a channel whose RPCs are answered in the caller's own event loop."""
    return cast("grpc.aio.Channel", _LocalChannel(answer, stream))


class _LocalChannel:
    """As much of a channel as stubs need. Messages are encoded as if they left the process."""

    def __init__(self, answer: Answer, stream: Stream) -> None:
        self._answer = answer
        self._stream = stream

    def unary_unary(
        self,
        path: str,
        request_serializer: Callable[[Any], bytes],
        response_deserializer: Callable[[bytes], Any],
        **_: object,
    ) -> Callable[..., Awaitable[Any]]:
        """Returns what a stub calls to send one RPC."""
        name = path.rpartition("/")[2]
        parse = _request_type(name).FromString

        async def send(
            request: Any, *, timeout: float | None = None, metadata: Any = (), **_: object
        ) -> Any:
            answering = self._answer(name, parse(request_serializer(request)), dict(metadata))
            try:
                answer = await asyncio.wait_for(answering, timeout)
            except FailedError as failed:
                raise failed.failure.to_error() from None
            except asyncio.TimeoutError:
                raise _LATE.to_error() from None
            return response_deserializer(answer.SerializeToString())

        return send

    def _not_served(self, *_: object, **__: object) -> Callable[..., Any]:
        def send(*_: object, **__: object) -> Any:
            raise _MISSING.to_error()

        return send

    stream_unary = stream_stream = _not_served

    def unary_stream(
        self,
        path: str,
        request_serializer: Callable[[Any], bytes],
        response_deserializer: Callable[[bytes], Any],
        **_: object,
    ) -> Callable[..., _LocalStream]:
        """Returns what a stub calls to begin one stream."""
        name = path.rpartition("/")[2]
        parse = _request_type(name).FromString

        def begin(
            request: Any, *, timeout: float | None = None, metadata: Any = (), **_: object
        ) -> _LocalStream:
            answers = self._stream(name, parse(request_serializer(request)), dict(metadata))
            return _LocalStream(answers, response_deserializer, timeout)

        return begin

    async def close(self, grace: float | None = None) -> None:
        """Has nothing to close."""

    async def __aenter__(self) -> _LocalChannel:
        return self

    async def __aexit__(self, *_: object) -> None: ...


class _LocalStream:
    """As much of a streaming call as callers need."""

    def __init__(
        self,
        answers: AsyncIterator[Message],
        parse: Callable[[bytes], Any],
        timeout: float | None,
    ) -> None:
        self._answers = answers
        self._parse = parse
        self._end = None if timeout is None else asyncio.get_running_loop().time() + timeout

    async def read(self) -> Any:
        """Returns the next message; EOF after the last one."""
        left = None if self._end is None else self._end - asyncio.get_running_loop().time()
        try:
            answer = await asyncio.wait_for(anext(self._answers, None), left)
        except FailedError as failed:
            raise failed.failure.to_error() from None
        except asyncio.TimeoutError:
            raise _LATE.to_error() from None
        return grpc.aio.EOF if answer is None else self._parse(answer.SerializeToString())

    def __aiter__(self) -> _LocalStream:
        return self

    async def __anext__(self) -> Any:
        message = await self.read()
        if message is grpc.aio.EOF:
            raise StopAsyncIteration
        return message

    def cancel(self) -> bool:
        """Has nothing to do: a stream that nobody reads stands still."""
        return True


def _request_type(name: str) -> type[Message]:
    return GetMessageClass(SERVICE.methods_by_name[name].input_type)


@contextlib.asynccontextmanager
async def serving(answer: Answer, stream: Stream, address: str) -> AsyncIterator[int]:
    """Serves on this machine; yields the port. Leaving cuts all connections at once."""
    server = grpc.aio.server()
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    for name, method in SERVICE.methods_by_name.items():
        streams = method.server_streaming
        make = (
            grpc.unary_stream_rpc_method_handler
            if streams
            else grpc.unary_unary_rpc_method_handler
        )
        handlers[name] = make(
            _serve_stream(name, stream) if streams else _serve(name, answer),
            request_deserializer=_request_type(name).FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(SERVICE.full_name, handlers)]
    )
    port = server.add_insecure_port(address)
    await server.start()
    try:
        yield port
    finally:
        await server.stop(grace=0)


def _serve(name: str, answer: Answer) -> Callable[[Any, _Context], Awaitable[Message]]:
    async def serve(request: Any, context: _Context) -> Message:
        metadata = {key: str(value) for key, value in context.invocation_metadata() or ()}
        try:
            return await answer(name, request, metadata)
        except FailedError as failed:
            await failed.failure.abort(context)
            raise

    return serve


def _serve_stream(name: str, stream: Stream) -> Callable[[Any, _Context], AsyncIterator[Message]]:
    async def serve(request: Any, context: _Context) -> AsyncIterator[Message]:
        metadata = {key: str(value) for key, value in context.invocation_metadata() or ()}
        try:
            async for answer in stream(name, request, metadata):
                yield answer
        except FailedError as failed:
            await failed.failure.abort(context)

    return serve
