"""OpenAI's Responses API."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from headgate import bounds
from headgate.dialects.responses_story import Story, message, text_part
from headgate.dialects.shape import (
    Asked,
    Sent,
    Shape,
    Spoken,
    Watch,
    at,
    event,
    parse_object,
    render,
    speak_events,
    speak_whole,
    text,
    whole,
)
from headgate.usage import openai
from headgate.usage.counts import Meters

_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
_NO_USAGE: Final = {
    "input_tokens": 0,
    "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
    "output_tokens": 0,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 0,
}


class Responses(Shape):
    """POST …/responses."""

    family = "openai"

    def read(self, sent: Sent) -> Asked:
        """Returns what a request asks for. Raises UnreadableError."""
        body = parse_object(sent.content)
        return Asked(
            sent=sent,
            body=body,
            model=text(body.get("model")),
            streams=body.get("stream") is True,
            max_output_tokens=whole(body.get("max_output_tokens")),
            input_tokens=bounds.input_tokens(body),
        )

    def write(self, asked: Asked, *, model: str, max_output_tokens: int) -> tuple[str, bytes]:
        """Returns path and content of the request for a model, bounded and telling its usage."""
        bound = (
            {"max_output_tokens": max_output_tokens}
            if asked.needs_bound(max_output_tokens)
            else {}
        )
        return asked.sent.path, render({**asked.body, "model": model, **bound})

    def meters(self, asked: Asked, answer: object) -> Meters:
        """Returns what a whole answer says was used; a tool's use alone says nothing of tokens."""
        used = openai.responses(at(answer, "usage"))
        return used | openai.tools(answer) if used else {}

    def watch(self, asked: Asked) -> Watch:
        """Returns what is known of a stream before it has told anything."""
        return Story()

    def see(self, asked: Asked, watch: Watch, event: Mapping[str, Any]) -> bool:
        """Notes what is told, and the end, which tells the usage."""
        kind = text(event.get("type"))
        if kind in _ENDS:
            watch.meters = self.meters(asked, event.get("response"))
            watch.ended = True
        if kind in ("error", "response.failed"):
            watch.failure = "stream_error"
        elif isinstance(watch, Story):
            watch.follow(kind, event)
        return True

    def speak(self, asked: Asked, text: str) -> Spoken | None:
        """Returns a text as an assistant's message."""
        answer = _answer(asked)
        if asked.streams:
            return speak_events(*_begin(answer), *_render(Story(response=answer), 1, text))
        return speak_whole({**answer, "output": [message([text_part(text)])]})

    def conclude(self, asked: Asked, watch: Watch, text: str) -> bytes | None:
        """Returns what ends a stream that broke off with a text."""
        if not isinstance(watch, Story) or not watch.response:
            spoken = self.speak(asked, text)
            return spoken.content if spoken else None
        return b"".join(_render(watch, watch.next_number, text))


def _answer(asked: Asked) -> dict[str, Any]:
    return {
        "id": "resp_headgate",
        "object": "response",
        "created_at": int(time.time()),
        "status": "completed",
        "model": asked.model,
        "output": [],
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "usage": _NO_USAGE,
    }


def _begin(answer: Mapping[str, Any]) -> list[bytes]:
    kind = "response.created"
    begun = {**answer, "status": "in_progress", "usage": None}
    return [event({"type": kind, "sequence_number": 0, "response": begun}, kind)]


def _render(story: Story, number: int, said: str) -> list[bytes]:
    return [
        event({"type": kind, "sequence_number": place, **members}, kind)
        for place, (kind, members) in enumerate(story.conclude(said), number)
    ]
