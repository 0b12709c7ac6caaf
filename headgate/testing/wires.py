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
_Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_LATE: Final = Failure(code=grpc.StatusCode.DEADLINE_EXCEEDED, message="no answer in time")
_MISSING: Final = Failure(code=grpc.StatusCode.UNIMPLEMENTED, message="the fake has no such RPC")


def open_local_channel(answer: Answer) -> grpc.aio.Channel:
    """Returns a channel whose RPCs are answered in the caller's own event loop."""
    return cast("grpc.aio.Channel", _LocalChannel(answer))


class _LocalChannel:
    """As much of a channel as stubs need. Messages are encoded as if they left the process."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

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

    unary_stream = stream_unary = stream_stream = _not_served

    async def close(self, grace: float | None = None) -> None:
        """Has nothing to close."""

    async def __aenter__(self) -> _LocalChannel:
        return self

    async def __aexit__(self, *_: object) -> None: ...


def _request_type(name: str) -> type[Message]:
    return GetMessageClass(SERVICE.methods_by_name[name].input_type)


@contextlib.asynccontextmanager
async def serving(answer: Answer, address: str) -> AsyncIterator[int]:
    """Serves on this machine; yields the port. Leaving cuts all connections at once."""
    server = grpc.aio.server()
    handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
        name: grpc.unary_unary_rpc_method_handler(
            _serve(name, answer),
            request_deserializer=_request_type(name).FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
        for name, method in SERVICE.methods_by_name.items()
        if not method.server_streaming
    }
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
