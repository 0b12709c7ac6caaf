"""Cohere's API, version 2."""

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
from headgate.usage import cohere
from headgate.usage.counts import Meters

# How an answer ends that the provider did not finish.
_FAILURES: Final = frozenset({"ERROR", "TIMEOUT"})


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
        _follow(watch.progress, event)
        if event.get("type") == "message-end":
            delta = event.get("delta")
            watch.meters = cohere.billed(at(delta, "usage"))
            watch.ended = True
            if at(delta, "finish_reason") in _FAILURES:
                watch.failure = "stream_error"
        return True

    def speak(self, asked: Asked, text: str) -> Spoken | None:
        """Returns a text as an assistant's message."""
        if asked.streams:
            return speak_events(*_ending(Progress(), text))
        message = {"role": "assistant", "content": [{"type": "text", "text": text}]}
        return speak_whole({"id": "headgate", "finish_reason": "COMPLETE", "message": message})

    def conclude(self, asked: Asked, watch: Watch, text: str) -> bytes | None:
        """Returns what ends a stream that broke off with a text."""
        return b"".join(_ending(watch.progress, text))


def _follow(progress: Progress, event: Mapping[str, Any]) -> None:
    kind = event.get("type")
    if kind == "message-start":
        progress.begun = True
    elif kind == "content-start":
        content = at(at(event.get("delta"), "message"), "content")
        progress.open(event.get("index"), is_text=at(content, "type") == "text")
    elif kind == "content-end":
        progress.close()


def _ending(progress: Progress, said: str) -> Iterator[bytes]:
    """Yields what is missing of a message that ends with a text."""
    if not progress.begun:
        begun = {"role": "assistant", "content": [], "tool_calls": [], "citations": []}
        yield _tell("message-start", id="headgate", delta={"message": begun})
    index = progress.open_index
    if index is None or not progress.is_text:
        if index is not None:
            yield _tell("content-end", index=index)
        index = progress.next_index
        yield _tell("content-start", index=index, delta=_content(""))
    yield _tell("content-delta", index=index, delta=_content(said))
    yield _tell("content-end", index=index)
    yield _tell("message-end", delta={"finish_reason": "COMPLETE"})


def _content(said: str) -> dict[str, Any]:
    return {"message": {"content": {"type": "text", "text": said}}}


def _tell(kind: str, **members: Any) -> bytes:
    return event({"type": kind, **members}, kind)


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
