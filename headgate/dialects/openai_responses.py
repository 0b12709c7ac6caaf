"""OpenAI's Responses API."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from headgate import bounds
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
_ITEM_ID: Final = "msg_headgate"
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

    def see(self, asked: Asked, watch: Watch, event: Mapping[str, Any]) -> bool:
        """Notes the end, which tells the usage."""
        kind = event.get("type")
        if kind in _ENDS:
            watch.meters = self.meters(asked, event.get("response"))
            watch.ended = True
        if kind in ("error", "response.failed"):
            watch.failure = "stream_error"
        return True

    def speak(self, asked: Asked, text: str) -> Spoken | None:
        """Returns a text as an assistant's message."""
        part = {"type": "output_text", "text": text, "annotations": []}
        item = {
            "id": _ITEM_ID,
            "type": "message",
            "role": "assistant",
            "status": "completed",
            "content": [part],
        }
        answer = {
            "id": "resp_headgate",
            "object": "response",
            "created_at": int(time.time()),
            "status": "completed",
            "model": asked.model,
            "output": [item],
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": _NO_USAGE,
        }
        return speak_events(*_events(answer, item, part)) if asked.streams else speak_whole(answer)


def _events(
    answer: Mapping[str, Any], item: Mapping[str, Any], part: Mapping[str, Any]
) -> list[bytes]:
    begun = {**answer, "status": "in_progress", "output": [], "usage": None}
    place = {"item_id": _ITEM_ID, "output_index": 0, "content_index": 0}
    told: tuple[tuple[str, dict[str, Any]], ...] = (
        ("response.created", {"response": begun}),
        ("response.output_item.added", {"output_index": 0, "item": {**item, "content": []}}),
        ("response.content_part.added", {**place, "part": {**part, "text": ""}}),
        ("response.output_text.delta", {**place, "delta": part["text"], "logprobs": []}),
        ("response.output_text.done", {**place, "text": part["text"], "logprobs": []}),
        ("response.content_part.done", {**place, "part": part}),
        ("response.output_item.done", {"output_index": 0, "item": item}),
        ("response.completed", {"response": answer}),
    )
    return [
        event({"type": kind, "sequence_number": number, **members}, kind)
        for number, (kind, members) in enumerate(told)
    ]
