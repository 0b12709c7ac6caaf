"""Cohere's API, version 2."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
from headgate.usage import cohere
from headgate.usage.counts import Meters


class Chat(Shape):
    """POST …/v2/chat."""

    family = "cohere"

    def read(self, sent: Sent) -> Asked:
        """Returns what a request asks for. Raises UnreadableError."""
        body = parse_object(sent.content)
        return Asked(
            sent=sent,
            body=body,
            model=text(body.get("model")),
            streams=body.get("stream") is True,
            max_output_tokens=whole(body.get("max_tokens")),
            input_tokens=bounds.input_tokens(body, dialect="cohere"),
        )

    def write(self, asked: Asked, *, model: str, max_output_tokens: int) -> tuple[str, bytes]:
        """Returns path and content of the request for a model, bounded and telling its usage."""
        bound = {"max_tokens": max_output_tokens} if asked.needs_bound(max_output_tokens) else {}
        return asked.sent.path, render({**asked.body, "model": model, **bound})

    def meters(self, asked: Asked, answer: object) -> Meters:
        """Returns what a whole answer says was used."""
        return cohere.billed(at(answer, "usage"))

    def see(self, asked: Asked, watch: Watch, event: Mapping[str, Any]) -> bool:
        """Notes the end, which tells the usage."""
        if event.get("type") == "message-end":
            watch.meters = cohere.billed(at(event.get("delta"), "usage"))
            watch.ended = True
        return True

    def speak(self, asked: Asked, text: str) -> Spoken | None:
        """Returns a text as an assistant's message."""
        said = {"type": "text", "text": text}
        if not asked.streams:
            message = {"role": "assistant", "content": [said]}
            body = {"id": "headgate", "finish_reason": "COMPLETE", "message": message}
            return speak_whole(body)
        begun = {"role": "assistant", "content": [], "tool_calls": [], "citations": []}
        told: tuple[dict[str, Any], ...] = (
            {"type": "message-start", "id": "headgate", "delta": {"message": begun}},
            {
                "type": "content-start",
                "index": 0,
                "delta": {"message": {"content": {**said, "text": ""}}},
            },
            {"type": "content-delta", "index": 0, "delta": {"message": {"content": said}}},
            {"type": "content-end", "index": 0},
            {"type": "message-end", "delta": {"finish_reason": "COMPLETE"}},
        )
        return speak_events(*(event(each, each["type"]) for each in told))


class Embed(Shape):
    """POST …/v2/embed."""

    family = "cohere"

    def read(self, sent: Sent) -> Asked:
        """Returns what a request asks for. Raises UnreadableError."""
        body = parse_object(sent.content)
        return Asked(
            sent=sent,
            body=body,
            model=text(body.get("model")),
            max_output_tokens=0,
            input_tokens=bounds.input_tokens(body, dialect="cohere"),
        )

    def write(self, asked: Asked, *, model: str, max_output_tokens: int) -> tuple[str, bytes]:
        """Returns path and content of the request for a model."""
        return asked.sent.path, render({**asked.body, "model": model})

    def meters(self, asked: Asked, answer: object) -> Meters:
        """Returns what a whole answer says was used."""
        return cohere.billed(at(answer, "meta"))
