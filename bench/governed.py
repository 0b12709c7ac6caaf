"""What a governed HTTP client adds to a call: the same request with and without it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any, Final, Self

import httpx2

import headgate
from bench.backend import OPERATION, UnexpectedAnswerError

_BODY: Final[dict[str, Any]] = {
    "model": "bench",
    "messages": [{"role": "user", "content": "word " * 420}],
    "max_completion_tokens": 256,
}


class HttpWorks:
    """Both clients, at one provider."""

    def __init__(self, client: headgate.Client, provider_url: str, org: str) -> None:
        self._url = f"{provider_url}/v1/chat/completions"
        self._plain = httpx2.AsyncClient()
        self._governed = headgate.governed_async_client(OPERATION, client=client, org=org)
        self._exit = AsyncExitStack()

    async def plain(self) -> int:
        """Asks the provider."""
        return await self._ask(self._plain)

    async def governed(self) -> int:
        """Asks Headgate, then the provider, and leaves the report to the background."""
        return await self._ask(self._governed)

    async def _ask(self, http: httpx2.AsyncClient) -> int:
        answer = await http.post(self._url, json=_BODY)
        if answer.json()["usage"]["total_tokens"] != 600:
            raise UnexpectedAnswerError(answer.text)
        return 1

    async def __aenter__(self) -> Self:
        await self._exit.enter_async_context(self._plain)
        await self._exit.enter_async_context(self._governed)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._exit.aclose()
