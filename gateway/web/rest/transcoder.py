"""Serves every RPC that declares an HTTP path, by calling it.

The call goes through this gateway's own server, so that who may call, what is written to the
audit, deadlines and shedding are the same as for gRPC.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from http import HTTPMethod, HTTPStatus
from typing import Any, Final, TypeAlias

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from chassis.errors import ServiceError
from chassis.server import Authenticator
from gateway.web.rest import problems
from gateway.web.rest.bindings import Binding, last_name, read_bindings
from gateway.web.rest.bodies import read_body
from gateway.web.rest.deprecations import (
    DEPRECATIONS,
    Deprecation,
    Deprecations,
    find_deprecation,
)
from gateway.web.rest.messages import hide_secrets, read_message, refuse_type, write_message
from gateway.web.rest.problems import RequestRefusedError
from gateway.web.rest.repeats import HEADER as KEY_HEADER
from gateway.web.rest.repeats import Answer, Repeats
from gateway.web.rest.tags import Tags, fail_precondition, find_versioned_paths

# How long an RPC may take: longer than its own default, which then says what happened.
TIMEOUT_SECONDS: Final = 15.0
# What goes on to the RPC: its header, and the name of its metadata.
_PASSED_ON: Final = (
    ("authorization", "authorization"),
    ("traceparent", "traceparent"),
    ("tracestate", "tracestate"),
)
REASON_HEADER: Final = "headgate-reason"
_REASON_METADATA: Final = "headgate-reason-bin"
_JSON: Final = "application/json"
_LINES: Final = "application/x-ndjson"
_EVENTS: Final = "text/event-stream"
# Fields by which a stream goes on where it was lost; the `id` of server-sent events.
_RESUME: Final = "resume_token"
_Metadata: TypeAlias = list[tuple[str, str | bytes]]
_HEADERS: Final = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
_BODY_VERBS: Final = frozenset({HTTPMethod.POST, HTTPMethod.PUT, HTTPMethod.PATCH})


class Transcoder:
    """Answers the declared requests of some services."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        services: Iterable[ServiceDescriptor],
        *,
        repeats: Repeats | None = None,
        authenticate: Authenticator | None = None,
        deprecations: Deprecations = DEPRECATIONS,
    ) -> None:
        """`channel` leads to the server of the services. Raises ValueError.

        Without `repeats`, and who may use them, keys of requests that are repeated are ignored.
        """
        keyed = _Keyed(repeats, authenticate) if repeats and authenticate else None
        bindings = read_bindings(services)
        paths = find_versioned_paths(bindings)
        self._endpoints = [
            _Endpoint(
                channel,
                binding,
                keyed,
                Tags(binding, paths),
                find_deprecation(binding, deprecations),
            )
            for binding in bindings
        ]

    def routes(self) -> list[Route]:
        """Returns the paths."""
        return [
            Route(each.binding.path, each.answer, methods=[each.binding.verb])
            for each in self._endpoints
        ]


class _Keyed:
    """Answers a request that has a key of its own."""

    def __init__(self, repeats: Repeats, authenticate: Authenticator) -> None:
        self._repeats = repeats
        self._authenticate = authenticate

    async def run(
        self, request: Request, rpc: str, body: bytes, answer: Callable[[], Awaitable[Answer]]
    ) -> Answer:
        shown = request.headers.get("authorization", "")
        # Nobody unknown fills the table.
        await self._authenticate({"authorization": shown}, rpc)
        asked = f"{request.method} {request.url.path}?{request.url.query}\n".encode() + body
        return await self._repeats.run(shown, request.headers[KEY_HEADER], asked, answer)


class _Endpoint:
    def __init__(
        self,
        channel: grpc.aio.Channel,
        binding: Binding,
        keyed: _Keyed | None,
        tags: Tags,
        deprecation: Deprecation | None,
    ) -> None:
        self.binding = binding
        self._headers = _HEADERS if deprecation is None else {**_HEADERS, **deprecation.headers}
        self._tags = tags
        # Calls have ids of their own, and what only reads may be asked again anyway.
        may_repeat = binding.verb == HTTPMethod.GET or binding.streams or binding.is_of_calls
        self._keyed = None if may_repeat else keyed
        answers = message_factory.GetMessageClass(binding.response)
        make = channel.unary_stream if binding.streams else channel.unary_unary
        self._call: Callable[..., Any] = make(
            binding.rpc,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answers.FromString,
        )

    async def answer(self, request: Request) -> Response:
        try:
            body = await read_body(request)
            message = self._read(request, body)
            metadata = _metadata(request)
            if self.binding.streams:
                return await self._stream(request, message, metadata)
            if self._keyed is None or KEY_HEADER not in request.headers:
                return self._respond(await self._ask(message, metadata), request)
            answered = await self._keyed.run(
                request, self.binding.rpc, body, lambda: self._ask(message, metadata)
            )
            return self._respond(answered, request)
        except (RequestRefusedError, ServiceError) as error:
            return self._fail(error)
        except grpc.aio.AioRpcError as error:
            return self._fail(fail_precondition(problems.translate(error), request.headers))

    def _fail(self, error: RequestRefusedError | ServiceError) -> Response:
        response = problems.respond(error)
        response.headers.update(self._headers)
        return response

    async def _ask(self, message: Message, metadata: _Metadata) -> Answer:
        """Calls the RPC. Raises AioRpcError."""
        answered = await self._call(message, metadata=metadata, timeout=TIMEOUT_SECONDS)
        body = _dump(answered)
        tag = self._tags.tag(answered, body)
        return Answer(body=body, kept=_dump(hide_secrets(answered)), tag=tag)

    def _respond(self, answer: Answer, request: Request) -> Response:
        headers = self._headers
        if answer.tag is not None:
            headers = {**headers, "etag": answer.tag}
        if answer.replayed:
            headers = {**headers, "idempotency-replayed": "true"}
        if self._tags.is_known(request.headers, answer.tag):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(answer.body, media_type=_JSON, headers=headers)

    def _read(self, request: Request, body: bytes) -> Message:
        if body and request.method in _BODY_VERBS:
            shown = request.headers.get("content-type", "")
            if shown.partition(";")[0].strip().lower() != _JSON:
                raise refuse_type(shown)
        said = {name: request.path_params[last_name(name)] for name in self.binding.variables}
        said |= self._tags.expect(request.headers)
        query = request.query_params.multi_items()
        last = request.headers.get("last-event-id", "")
        if last and self.binding.streams and _RESUME in self.binding.request.fields_by_name:
            # A browser that lost the stream asks for the same address again.
            query = [(name, value) for name, value in query if name != _RESUME]
            query.append((_RESUME, last))
        return read_message(self.binding, said, query, body)

    async def _stream(self, request: Request, message: Message, metadata: _Metadata) -> Response:
        call = self._call(message, metadata=metadata)
        # What fails at once is an answer with a status of its own.
        first = await call.read()
        as_events = _EVENTS in request.headers.get("accept", "")
        lines = _follow(call, first, _write_event if as_events else _write_line)
        headers = {**self._headers, "x-accel-buffering": "no"}
        return StreamingResponse(
            lines, media_type=_EVENTS if as_events else _LINES, headers=headers
        )


async def _follow(
    call: Any, first: Any, write: Callable[[str, Message | None], str]
) -> AsyncIterator[str]:
    """Yields the messages, and at the end why it ended if it failed."""
    try:
        message = first
        while message is not grpc.aio.EOF:
            yield write(_dump(message).decode(), message)
            message = await call.read()
    except grpc.aio.AioRpcError as error:
        problem = problems.describe(problems.translate(error))
        yield write(json.dumps({"error": problem}), None)
    finally:
        call.cancel()


def _write_line(text: str, _: Message | None) -> str:
    return f"{text}\n"


def _write_event(text: str, message: Message | None) -> str:
    token: str = getattr(message, _RESUME, "")
    return f"id: {token}\ndata: {text}\n\n" if token else f"data: {text}\n\n"


def _metadata(request: Request) -> _Metadata:
    """Returns what the RPC is told beside its message. Raises RequestRefusedError."""
    told: _Metadata = []
    for header, name in _PASSED_ON:
        value = request.headers.get(header)
        if value is None:
            continue
        if not (value.isascii() and value.isprintable()):
            raise RequestRefusedError(
                400, "INVALID_HEADER", f"the header `{header}` must be printable ASCII"
            )
        told.append((name, value))
    reason = request.headers.get(REASON_HEADER)
    if reason is not None:
        # Headers are bytes that Starlette reads as Latin-1; people write UTF-8.
        told.append((_REASON_METADATA, reason.encode("latin-1")))
    return told


def _dump(message: Message) -> bytes:
    return json.dumps(write_message(message), separators=(",", ":")).encode()
