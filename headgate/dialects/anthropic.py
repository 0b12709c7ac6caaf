"""Anthropic's messages."""

from __future__ import annotations

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
from headgate.usage import anthropic
from headgate.usage.counts import Meters

_NO_USAGE: Final = {"input_tokens": 0, "output_tokens": 0}


class Messages(Shape):
    """POST …/v1/messages."""

    family = "anthropic"

    def read(self, sent: Sent) -> Asked:
        """Returns what a request asks for. Raises UnreadableError."""
        body = parse_object(sent.content)
        return Asked(
            sent=sent,
            body=body,
            model=text(body.get("model")),
            streams=body.get("stream") is True,
            max_output_tokens=whole(body.get("max_tokens")),
            input_tokens=bounds.input_tokens(body, dialect="anthropic"),
        )

    def write(self, asked: Asked, *, model: str, max_output_tokens: int) -> tuple[str, bytes]:
        """Returns path and content of the request for a model, bounded and telling its usage."""
        bound = {"max_tokens": max_output_tokens} if asked.needs_bound(max_output_tokens) else {}
        return asked.sent.path, render({**asked.body, "model": model, **bound})

    def meters(self, asked: Asked, answer: object) -> Meters:
        """Returns what a whole answer says was used."""
        return anthropic.messages(at(answer, "usage"))

    def see(self, asked: Asked, watch: Watch, event: Mapping[str, Any]) -> bool:
        """Notes the usage, which the start tells in part and the end in full."""
        kind = event.get("type")
        if kind == "message_start":
            watch.partial = at(event.get("message"), "usage")
        elif kind == "message_delta":
            watch.meters = anthropic.messages(anthropic.merge(watch.partial, event.get("usage")))
        elif kind == "message_stop":
            watch.ended = True
        elif kind == "error":
            watch.failure = text(at(event.get("error"), "type")) or "stream_error"
        return True

    def speak(self, asked: Asked, text: str) -> Spoken | None:
        """Returns a text as an assistant's message."""
        message = {
            "id": "msg_headgate",
            "type": "message",
            "role": "assistant",
            "model": asked.model,
            "content": [{"type": "text", "text": text}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": _NO_USAGE,
        }
        return speak_events(*_events(message, text)) if asked.streams else speak_whole(message)


def _events(message: Mapping[str, Any], said: str) -> list[bytes]:
    begun = {**message, "content": [], "stop_reason": None}
    block = {"type": "text", "text": ""}
    stop = {"stop_reason": "end_turn", "stop_sequence": None}
    told: tuple[dict[str, Any], ...] = (
        {"type": "message_start", "message": begun},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": said},
        },
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": stop, "usage": {"output_tokens": 0}},
        {"type": "message_stop"},
    )
    return [event(each, each["type"]) for each in told]
