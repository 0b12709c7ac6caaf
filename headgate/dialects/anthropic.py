"""Anthropic's messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from headgate import bounds
from headgate.dialects.shape import (
    Asked,
    Progress,
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
        _follow(watch.progress, event)
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
        if asked.streams:
            return speak_events(*_ending(asked, Progress(), text))
        said = {"type": "text", "text": text}
        return speak_whole({**_message(asked), "content": [said], "stop_reason": "end_turn"})

    def conclude(self, asked: Asked, watch: Watch, text: str) -> bytes | None:
        """Returns what ends a stream that broke off with a text."""
        return b"".join(_ending(asked, watch.progress, text))


def _message(asked: Asked) -> dict[str, Any]:
    return {
        "id": "msg_headgate",
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": _NO_USAGE,
    }


def _follow(progress: Progress, event: Mapping[str, Any]) -> None:
    kind = event.get("type")
    if kind == "message_start":
        progress.begun = True
    elif kind == "content_block_start":
        is_text = at(event.get("content_block"), "type") == "text"
        progress.open(event.get("index"), is_text=is_text)
    elif kind == "content_block_stop":
        progress.close()


def _ending(asked: Asked, progress: Progress, said: str) -> Iterator[bytes]:
    """Yields what is missing of a message that ends with a text."""
    if not progress.begun:
        yield _tell("message_start", message=_message(asked))
    index = progress.open_index
    if index is None or not progress.is_text:
        if index is not None:
            yield _tell("content_block_stop", index=index)
        index = progress.next_index
        block = {"type": "text", "text": ""}
        yield _tell("content_block_start", index=index, content_block=block)
    yield _tell("content_block_delta", index=index, delta={"type": "text_delta", "text": said})
    yield _tell("content_block_stop", index=index)
    stop = {"stop_reason": "end_turn", "stop_sequence": None}
    yield _tell("message_delta", delta=stop, usage={"output_tokens": 0})
    yield _tell("message_stop")


def _tell(kind: str, **members: Any) -> bytes:
    return event({"type": kind, **members}, kind)
