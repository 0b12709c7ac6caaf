"""Chat completions, in OpenAI's dialect and in those that copied it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from headgate import bounds
from headgate.dialects.shape import (
    Asked,
    Shape,
    Spoken,
    Watch,
    event,
    parse_object,
    render,
    text,
    whole,
)
from headgate.usage import openai
from headgate.usage.counts import Meters, NonsenseError, member

_ID = "chatcmpl-headgate"


class ChatCompletions(Shape):
    """POST …/chat/completions."""

    dialect = "openai"
    # The name of the bound that is set if the request sets none.
    bound = "max_completion_tokens"
    # Whether streams tell their usage only if they are asked to.
    asks_for_usage = True

    def read(self, path: str, content: bytes) -> Asked:
        """Returns what a request asks for. Raises UnreadableError."""
        body = parse_object(content)
        count = whole(body.get("n")) or 1
        bound = whole(body.get("max_completion_tokens"))
        if bound is None:
            bound = whole(body.get("max_tokens"))
        return Asked(
            path=path,
            body=body,
            model=text(body.get("model")),
            streams=body.get("stream") is True,
            choice_count=count,
            max_output_tokens=None if bound is None else bound * count,
            input_tokens=bounds.input_tokens(body),
        )

    def write(self, asked: Asked, *, model: str, max_output_tokens: int) -> tuple[str, bytes]:
        """Returns path and content of the request for a model, bounded and telling its usage."""
        body = {**asked.body, "model": model}
        if asked.max_output_tokens is None:
            body[self.bound] = max_output_tokens // asked.choice_count
        if asked.streams and self.asks_for_usage:
            options = body.get("stream_options")
            options = options if isinstance(options, Mapping) else {}
            body["stream_options"] = {**options, "include_usage": True}
        return asked.path, render(body)

    def meters(self, asked: Asked, answer: object) -> Meters:
        """Returns what a whole answer says was used."""
        try:
            return openai.chat(member(answer, "usage"))
        except NonsenseError:
            return {}

    def see(self, asked: Asked, watch: Watch, event: Mapping[str, Any]) -> bool:
        """Notes usage and end; hides the usage that only we asked for."""
        if event.get("error"):
            watch.failure = "stream_error"
        if event.get("usage") is None:
            return True
        watch.meters = self.meters(asked, event)
        wanted = asked.body.get("stream_options")
        wanted = isinstance(wanted, Mapping) and wanted.get("include_usage") is True
        return wanted or not self.asks_for_usage or bool(event.get("choices"))

    def speak(self, asked: Asked, text: str) -> Spoken | None:
        """Returns a text as an assistant's message."""
        whole = {
            "id": _ID,
            "object": "chat.completion.chunk" if asked.streams else "chat.completion",
            "created": int(time.time()),
            "model": asked.model,
        }
        usage = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        message = {"role": "assistant", "content": text}
        if not asked.streams:
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            body = {**whole, "choices": [choice], "usage": usage}
            return Spoken(content_type="application/json", content=render(body))
        first = {"index": 0, "delta": message, "finish_reason": None}
        last = {"index": 0, "delta": {}, "finish_reason": "stop"}
        events = [event({**whole, "choices": [each]}) for each in (first, last)]
        events.append(b"data: [DONE]\n\n")
        return Spoken(content_type="text/event-stream", content=b"".join(events))
