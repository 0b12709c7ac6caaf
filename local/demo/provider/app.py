"""The stand-in's HTTP surface: chat completions for several providers, and a control panel."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from local.demo.provider.bill import Bill, Price, charge
from local.demo.provider.generation import (
    PIECE_COUNT_MAX,
    BadRequestError,
    ChatRequest,
    Generation,
    generate,
    parse,
)

OUTAGE_SECONDS_MAX = 3600.0


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

    def is_out(self, provider: str) -> bool:
        """Tells whether the provider is in an outage."""
        return time.monotonic() < self.outages.get(provider, 0.0)


class BrokenStreamError(Exception):
    """The provider breaks the connection in the middle of a stream."""


@dataclass(slots=True, kw_only=True)
class Call:
    """One call on its way."""

    call_id: str
    provider: str
    request: ChatRequest
    course: Generation
    start: float = field(default_factory=time.monotonic)
    token_count: int = 0


class ChatCompletions:
    """POST /{provider}/v1/chat/completions."""

    def __init__(self, stand_in: StandIn) -> None:
        self._stand_in = stand_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one call. A broken stream ends without its last byte, so the server hangs up."""
        request = Request(scope, receive)
        provider = request.path_params["provider"]
        body = await request.body()
        call = self._admit(provider, request.headers, body)
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

    def _admit(self, provider: str, headers: Mapping[str, str], body: bytes) -> Call | Response:
        stand_in = self._stand_in
        if stand_in.is_out(provider):
            return _error(503, "the provider is out of service")
        try:
            request = parse(json.loads(body))
        except (ValueError, BadRequestError) as error:
            return _error(400, str(error))
        if (provider, request.model) not in stand_in.prices:
            return _error(404, f"no model {request.model!r} at {provider!r}")
        call_id = headers.get("x-headgate-call-id", "")
        course = generate(
            request,
            call_id=call_id,
            seed=stand_in.seed,
            speed=stand_in.speed,
            error_rate=stand_in.error_rate,
            headers=headers,
        )
        match course.fault:
            case "500" | "400" as status:
                return _error(int(status), "an injected fault")
            case "429":
                return _error(429, "too many requests", {"retry-after": "1"})
        return Call(call_id=call_id, provider=provider, request=request, course=course)

    async def _answer(self, call: Call, gone: asyncio.Task[None], send: Send) -> None:
        await self._generate_until(call, call.course.usage.completion_tokens, gone)
        self._charge(call, ended="full")
        await JSONResponse(_render(call))({"type": "http"}, _never, send)

    async def _stream(self, call: Call, gone: asyncio.Task[None], send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await _send_event(send, _chunk(call, delta={"role": "assistant", "content": ""}))
        usage = call.course.usage
        visible, sent = usage.completion_tokens - usage.reasoning_tokens, 0
        pieces = min(visible, PIECE_COUNT_MAX)
        for piece in range(1, pieces + 1):
            upto = visible * piece // pieces
            await self._generate_until(call, usage.reasoning_tokens + upto, gone)
            if call.course.fault == "reset" and 2 * piece >= pieces:
                raise BrokenStreamError
            await _send_event(send, _chunk(call, delta={"content": "word " * (upto - sent)}))
            sent = upto
        self._charge(call, ended="full")
        await _send_event(send, _chunk(call, delta={}, finish=_finish_reason(call)))
        if call.request.include_usage:
            await _send_event(send, {**_chunk(call), "usage": usage.to_json()})
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

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
        self._stand_in.bill.add(
            call_id=call.call_id,
            provider=call.provider,
            model=call.request.model,
            usage=usage,
            nanos=charge(usage, self._stand_in.prices[call.provider, call.request.model]),
            ended=ended,
        )


def build(stand_in: StandIn) -> Starlette:
    """Returns the application."""

    async def set_outage(request: Request) -> Response:
        """Puts a provider out of service: POST {"provider": …, "seconds": …}; 0 ends it."""
        body = await request.json()
        provider, seconds = body.get("provider"), body.get("seconds")
        if provider not in {provider for provider, _ in stand_in.prices}:
            return _error(404, f"no provider {provider!r}")
        if not isinstance(seconds, int | float) or not 0 <= seconds <= OUTAGE_SECONDS_MAX:
            return _error(400, f"seconds must be a number from 0 to {OUTAGE_SECONDS_MAX:.0f}")
        stand_in.outages[provider] = time.monotonic() + seconds
        return JSONResponse({"provider": provider, "seconds": seconds})

    async def get_state(_: Request) -> Response:
        """Shows the bill's sum and who is out."""
        return JSONResponse(
            {
                "billed_call_count": stand_in.bill.call_count,
                "billed_nanos": stand_in.bill.total_nanos,
                "out": sorted(name for name in stand_in.outages if stand_in.is_out(name)),
            }
        )

    completions = ChatCompletions(stand_in)
    return Starlette(
        routes=[
            Route("/{provider}/v1/chat/completions", completions, methods=["POST"]),
            Route("/control/outage", set_outage, methods=["POST"]),
            Route("/control/state", get_state, methods=["GET"]),
        ]
    )


async def _wait_until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _never() -> dict[str, str]:
    raise AssertionError("a finished response reads nothing")


async def _send_event(send: Send, event: Mapping[str, object]) -> None:
    body = b"data: " + json.dumps(event).encode() + b"\n\n"
    await send({"type": "http.response.body", "body": body, "more_body": True})


def _render(call: Call) -> dict[str, object]:
    usage = call.course.usage
    content = "word " * (usage.completion_tokens - usage.reasoning_tokens)
    message = {"role": "assistant", "content": content}
    return {
        "id": f"chatcmpl-{call.call_id}",
        "object": "chat.completion",
        "model": call.request.model,
        "choices": [{"index": 0, "message": message, "finish_reason": _finish_reason(call)}],
        "usage": usage.to_json(),
    }


def _chunk(
    call: Call, *, delta: Mapping[str, str] | None = None, finish: str | None = None
) -> dict[str, object]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {
        "id": f"chatcmpl-{call.call_id}",
        "object": "chat.completion.chunk",
        "model": call.request.model,
        "choices": choices,
    }


def _finish_reason(call: Call) -> str:
    return "length" if call.course.truncated else "stop"


def _error(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    body = {"error": {"message": message, "type": "stand_in", "code": str(status)}}
    return JSONResponse(body, status_code=status, headers=headers)
