"""One chat completion at the stand-in, under an admitted call: what a careful backend does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import httpx2

import headgate


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """What is asked, and how the stand-in shall behave."""

    input_tokens: int
    # How many the stand-in will generate, if the bound allows.
    output_tokens: int
    stream: bool
    # False: the backend forgets to tell Headgate what the call used.
    reported: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderClient:
    """Sends calls to the stand-in and reports to Headgate what it answers."""

    http: httpx2.AsyncClient
    url: str

    async def ask(
        self, call: headgate.Call, prompt: Prompt, *, on_piece: Callable[[], None] | None = None
    ) -> None:
        """Makes the call where it was admitted to and reports its usage.

        `on_piece` is called after each piece of a stream. When it is cancelled in the middle of a
        stream it reports what it has seen. Raises the HTTP client's errors.
        """
        request = self._request(call, prompt)
        if prompt.stream:
            usage = await self._read_stream(call, request, prompt, on_piece)
        else:
            response = await self.http.post(**request)
            response.raise_for_status()
            usage = response.json()["usage"]
        if prompt.reported:
            _report(call, usage)

    async def _read_stream(
        self,
        call: headgate.Call,
        request: dict[str, Any],
        prompt: Prompt,
        on_piece: Callable[[], None] | None,
    ) -> Mapping[str, Any]:
        usage: Mapping[str, Any] = {}
        seen_tokens = 0
        try:
            async with self.http.stream("POST", **request) as response:
                response.raise_for_status()
                async for line in response.aiter_lines():
                    chunk = _parse(line)
                    usage = chunk.get("usage") or usage
                    seen_tokens += _count_tokens(chunk)
                    if chunk and on_piece is not None:
                        on_piece()
        except asyncio.CancelledError:
            # Only a cancelled stream is charged for a part: a failed one is not billed.
            if usage:
                _report(call, usage)
            else:
                call.report(input_tokens=prompt.input_tokens, output_tokens=seen_tokens)
            raise
        return usage

    def _request(self, call: headgate.Call, prompt: Prompt) -> dict[str, Any]:
        body: dict[str, object] = {
            "model": call.model,
            "messages": [{"role": "user", "content": "word " * prompt.input_tokens}],
            "max_completion_tokens": call.max_output_tokens,
        }
        if prompt.stream:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return {
            "url": f"{self.url}/{call.provider}/v1/chat/completions",
            "json": body,
            "headers": {
                "x-headgate-call-id": call.call_id,
                "x-stand-in-output-tokens": str(prompt.output_tokens),
            },
        }


def _report(call: headgate.Call, usage: Mapping[str, Any]) -> None:
    """Turns the provider's nested counts into Headgate's disjoint meters."""
    cached = usage["prompt_tokens_details"]["cached_tokens"]
    reasoning = usage["completion_tokens_details"]["reasoning_tokens"]
    call.report(
        input_tokens=usage["prompt_tokens"] - cached,
        cache_read_tokens=cached,
        output_tokens=usage["completion_tokens"] - reasoning,
        reasoning_tokens=reasoning,
    )


def _parse(line: str) -> dict[str, Any]:
    data = line.removeprefix("data: ")
    chunk: dict[str, Any] = json.loads(data) if data and data != "[DONE]" else {}
    return chunk


def _count_tokens(chunk: Mapping[str, Any]) -> int:
    return sum(
        len(choice["delta"].get("content", "").split()) for choice in chunk.get("choices", ())
    )
