"""A governed HTTP client whose providers are a function of the test's."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx2

import headgate
from headgate.api.gateway.v1 import gateway_pb2
from headgate.testing import FakeGateway

OPENAI = "https://api.openai.com/v1/chat/completions"
USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
BODY: dict[str, Any] = {"model": "own", "messages": [{"role": "user", "content": "Why?"}]}

Respond = Callable[[httpx2.Request], httpx2.Response | Awaitable[httpx2.Response]]


class Line:
    """Keeps what reaches the providers."""

    def __init__(self, client: headgate.Client, respond: Respond, **options: Any) -> None:
        self.requests: list[httpx2.Request] = []

        async def handle(request: httpx2.Request) -> httpx2.Response:
            await request.aread()
            self.requests.append(request)
            answer = respond(request)
            return await answer if inspect.isawaitable(answer) else answer

        transport = httpx2.MockTransport(handle)
        self.http = headgate.governed_async_client(
            "chat", client=client, http_options={"transport": transport}, **options
        )

    async def ask(
        self, url: str = OPENAI, *, headers: dict[str, str] | None = None, **more: Any
    ) -> httpx2.Response:
        return await self.http.post(url, json={**BODY, **more}, headers=headers)


def whole(request: httpx2.Request) -> httpx2.Response:
    """A short answer."""
    message = {"role": "assistant", "content": "So."}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    return httpx2.Response(200, json={"choices": [choice], "usage": USAGE})


def streaming(*events: bytes, then: Callable[[], Awaitable[None]] | None = None) -> Respond:
    """A stream of these events, after which something happens."""

    async def pieces() -> AsyncIterator[bytes]:
        for event in events:
            yield event
        if then is not None:
            await then()

    headers = {"content-type": "text/event-stream"}
    return lambda _: httpx2.Response(200, headers=headers, content=pieces())


def asked(gateway: FakeGateway) -> list[gateway_pb2.AdmitCallRequest]:
    """What the gateway was asked for each admitted call."""
    return [
        gateway_pb2.AdmitCallRequest.FromString(each.fingerprint)
        for each in gateway.ledger.entries.values()
    ]
