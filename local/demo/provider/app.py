"""The stand-in's HTTP surface: several interfaces for several providers, and a control panel."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from local.demo.provider.bill import Bill, Price, Usage, charge
from local.demo.provider.control import Control, refuse
from local.demo.provider.generation import PIECE_COUNT_MAX, generate
from local.demo.provider.troubles import NONE, Trouble
from local.demo.provider.voices import anthropic, google, media, openai
from local.demo.provider.voices.voice import BadRequestError, Call, Voice


@dataclass(slots=True, kw_only=True)
class StandIn:
    """What the providers share: their prices, the bill, the switches."""

    prices: Mapping[tuple[str, str], Price]
    bill: Bill
    seed: int = 0
    # Divides every latency.
    speed: float = 1.0
    # Share of calls that fail, 0 to 1.
    error_rate: float = 0.0
    # Until when each provider is out, by the monotonic clock.
    outages: dict[str, float] = field(default_factory=dict)
    # What else is wrong with whom.
    troubles: dict[str, Trouble] = field(default_factory=dict)

    def is_out(self, provider: str) -> bool:
        """Tells whether the provider is in an outage."""
        return time.monotonic() < self.outages.get(provider, 0.0)

    def charge(self, call_id: str, provider: str, model: str, usage: Usage, *, ended: str) -> None:
        """Puts a call on the bill."""
        self.bill.add(
            call_id=call_id,
            provider=provider,
            model=model,
            usage=usage,
            nanos=charge(usage, self.prices[provider, model]),
            ended=ended,
        )


class BrokenStreamError(Exception):
    """The provider breaks the connection in the middle of a stream."""


class Conversation:
    """One interface that answers with text."""

    def __init__(self, stand_in: StandIn, voice: Voice) -> None:
        self._stand_in = stand_in
        self._voice = voice

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one call. A broken stream ends without its last byte, so the server hangs up."""
        request = Request(scope, receive)
        body = await request.body()
        call = self._admit(request.path_params, request.headers, body)
        if isinstance(call, Response):
            await call(scope, receive, send)
            return
        gone = asyncio.create_task(_wait_until_gone(receive))
        try:
            finish = self._stream if call.request.stream else self._answer
            await finish(call, gone, send)
        except ConnectionError:
            self._charge(call, ended="cut")
        except BrokenStreamError:
            return
        finally:
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await gone

    def _admit(
        self, params: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> Call | Response:
        stand_in, provider = self._stand_in, params["provider"]
        if stand_in.is_out(provider):
            return self._refuse(503, "the provider is out of service")
        try:
            request = self._voice.parse(params, _parse_object(body))
        except (ValueError, BadRequestError) as error:
            return self._refuse(400, str(error))
        if (provider, request.model) not in stand_in.prices:
            return self._refuse(404, f"no model {request.model!r} at {provider!r}")
        call_id = headers.get("x-headgate-call-id", "")
        course = generate(
            request,
            call_id=call_id,
            seed=stand_in.seed,
            speed=stand_in.speed,
            error_rate=stand_in.error_rate,
            headers=headers,
        )
        trouble = stand_in.troubles.get(provider, NONE)
        course = trouble.befall(course, call_id, streams=request.stream)
        match course.fault:
            case "500" | "400" as status:
                return self._refuse(int(status), "an injected fault")
            case "429":
                delay = str(course.retry_after_seconds)
                return self._refuse(429, "too many requests", {"retry-after": delay})
        return Call(call_id=call_id, provider=provider, request=request, course=course)

    async def _answer(self, call: Call, gone: asyncio.Task[None], send: Send) -> None:
        await self._generate_until(call, call.course.usage.completion_tokens, gone)
        self._charge(call, ended="full")
        body = self._voice.whole(call, self._voice.tell_usage(call))
        await JSONResponse(body)({"type": "http"}, _never, send)

    async def _stream(self, call: Call, gone: asyncio.Task[None], send: Send) -> None:
        voice, told = self._voice, self._voice.tell_usage(call)
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for event in voice.begin(call, told):
            await _send_part(send, event)
        usage = call.course.usage
        visible, sent = usage.completion_tokens - usage.reasoning_tokens, 0
        pieces = min(visible, PIECE_COUNT_MAX)
        for piece in range(1, pieces + 1):
            upto = visible * piece // pieces
            await self._generate_until(call, usage.reasoning_tokens + upto, gone)
            if call.course.fault == "reset" and 2 * piece >= pieces:
                raise BrokenStreamError
            await _send_part(send, voice.piece(call, "word " * (upto - sent)))
            sent = upto
        self._charge(call, ended="full")
        for event in voice.end(call, told):
            await _send_part(send, event)
        await send({"type": "http.response.body", "body": b""})

    async def _generate_until(
        self, call: Call, token_count: int, gone: asyncio.Task[None]
    ) -> None:
        """Waits until so many tokens exist; raises if the client or the provider goes first."""
        course = call.course
        pace = (course.seconds - course.first_token_seconds) / course.usage.completion_tokens
        due = call.start + course.first_token_seconds + token_count * pace
        await asyncio.wait({gone}, timeout=max(due - time.monotonic(), 0.0))
        if self._stand_in.is_out(call.provider):
            raise BrokenStreamError
        if gone.done():
            elapsed = time.monotonic() - call.start
            call.token_count = max(call.token_count, course.token_count_after(elapsed))
            raise ConnectionAbortedError
        call.token_count = token_count

    def _charge(self, call: Call, *, ended: str) -> None:
        usage = call.course.usage_at(call.token_count)
        self._stand_in.charge(call.call_id, call.provider, call.request.model, usage, ended=ended)

    def _refuse(
        self, status: int, message: str, headers: Mapping[str, str] | None = None
    ) -> Response:
        return JSONResponse(self._voice.error(status, message), status, headers=headers)


class Exhibition:
    """One interface that answers with something else, at once."""

    def __init__(self, stand_in: StandIn, medium: media.Medium) -> None:
        self._stand_in = stand_in
        self._medium = medium

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one call."""
        request = Request(scope, receive)
        content = await request.body()
        response = self._answer(request.path_params, request.headers, content)
        await response(scope, receive, send)

    def _answer(
        self, params: Mapping[str, str], headers: Mapping[str, str], content: bytes
    ) -> Response:
        stand_in, provider = self._stand_in, params["provider"]
        if stand_in.is_out(provider):
            return refuse(503, "the provider is out of service")
        is_form = headers.get("content-type", "").startswith("multipart/")
        try:
            body = {} if is_form else _parse_object(content)
            model, usage = self._medium.parse(params, content, body)
        except (ValueError, BadRequestError) as error:
            return refuse(400, str(error))
        if (provider, model) not in stand_in.prices:
            return refuse(404, f"no model {model!r} at {provider!r}")
        call_id = headers.get("x-headgate-call-id", "")
        stand_in.charge(call_id, provider, model, usage, ended="full")
        answer = self._medium.answer(body, usage)
        if isinstance(answer, bytes):
            return Response(answer, media_type="audio/mpeg")
        return JSONResponse(answer)


def build(stand_in: StandIn) -> Starlette:
    """Returns the application."""
    voices: dict[str, Voice] = {
        "/{provider}/v1/chat/completions": openai.ChatCompletions(),
        "/{provider}/v1/responses": openai.Responses(),
        "/{provider}/mistral/v1/chat/completions": openai.MistralChat(),
        "/{provider}/v1/messages": anthropic.Messages(),
        "/{provider}/{version}/models/{model}:{method}": google.GenerateContent(),
    }
    exhibits: dict[str, media.Medium] = {
        "/{provider}/v1/embeddings": media.Embeddings(),
        "/{provider}/mistral/v1/embeddings": media.Embeddings(),
        "/{provider}/{version}/models/{model}:batchEmbedContents": media.GoogleEmbeddings(),
        "/{provider}/v1/audio/speech": media.Speech(),
        "/{provider}/v1/audio/transcriptions": media.Transcriptions(),
        "/{provider}/v1/images/generations": media.Images(),
    }
    doors: dict[str, Any] = {path: Exhibition(stand_in, each) for path, each in exhibits.items()}
    doors |= {path: Conversation(stand_in, each) for path, each in voices.items()}
    control = Control(stand_in)
    return Starlette(
        routes=[
            *(Route(path, door, methods=["POST"]) for path, door in doors.items()),
            Route("/control/outage", control.set_outage, methods=["POST"]),
            Route("/control/trouble", control.set_trouble, methods=["POST"]),
            Route("/control/state", control.get_state, methods=["GET"]),
        ]
    )


def _parse_object(body: bytes) -> dict[str, Any]:
    parsed = json.loads(body)
    if not isinstance(parsed, dict):
        raise BadRequestError("the body must be a JSON object")
    return parsed


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _never() -> dict[str, str]:
    raise AssertionError("a finished response reads nothing")


async def _send_part(send: Send, part: bytes) -> None:
    await send({"type": "http.response.body", "body": part, "more_body": True})
