"""Completions, in OpenAI's dialect and in those that copied it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
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
from headgate.usage import deepseek, mistral, openai
from headgate.usage.counts import Meters

_NO_USAGE: Final = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
_BOUNDS: Final = ("max_completion_tokens", "max_tokens")


class ChatCompletions(Shape):
    """POST …/chat/completions."""

    family = "openai"
    kind = "chat.completion"

    def __init__(
        self,
        *,
        bound: str = "max_completion_tokens",
        asks_for_usage: bool = True,
        read_usage: Callable[[object], Meters] = openai.chat,
    ) -> None:
        # The name of the output's bound, if the request has none.
        self._bound = bound
        # Streams tell their usage only if they are asked to.
        self._asks_for_usage = asks_for_usage
        self._read_usage = read_usage

    def as_spoken_by(self, dialect: str) -> Shape:
        """Returns the shape as a provider of the family speaks it."""
        if dialect == "mistral":
            return type(self)(bound="max_tokens", asks_for_usage=False, read_usage=mistral.chat)
        if dialect == "deepseek":
            return type(self)(bound="max_tokens", read_usage=deepseek.chat)
        if dialect == "compatible":
            return type(self)(bound="max_tokens")
        return self

    def read(self, sent: Sent) -> Asked:
        """Returns what a request asks for. Raises UnreadableError."""
        body = parse_object(sent.content)
        count = max(whole(body.get("n")) or 1, whole(body.get("best_of")) or 1)
        bound = next((each for name in _BOUNDS if (each := whole(body.get(name)))), None)
        return Asked(
            sent=sent,
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
        if asked.needs_bound(max_output_tokens):
            body[self._bound] = max(1, max_output_tokens // asked.choice_count)
        elif self._bound == "max_tokens" and "max_completion_tokens" in body:
            body["max_tokens"] = body.pop("max_completion_tokens")
        if asked.streams and self._asks_for_usage:
            options = body.get("stream_options")
            options = options if isinstance(options, Mapping) else {}
            body["stream_options"] = {**options, "include_usage": True}
        return asked.sent.path, render(body)

    def meters(self, asked: Asked, answer: object) -> Meters:
        """Returns what a whole answer says was used."""
        return self._read_usage(at(answer, "usage"))

    def see(self, asked: Asked, watch: Watch, event: Mapping[str, Any]) -> bool:
        """Notes the usage; hides the event that comes only because we asked for it."""
        if event.get("error"):
            watch.failure = "stream_error"
        if event.get("usage") is None:
            return True
        watch.meters = self._read_usage(event["usage"])
        wanted = at(asked.body.get("stream_options"), "include_usage") is True
        return wanted or not self._asks_for_usage or bool(event.get("choices"))

    def speak(self, asked: Asked, text: str) -> Spoken | None:
        """Returns a text as an assistant's message."""
        said = {"role": "assistant", "content": text}
        if asked.streams:
            return speak_events(*self._chunks(asked, self._piece(said)))
        only = {"index": 0, **self._whole(said), "finish_reason": "stop"}
        frame = self._frame(asked, self.kind)
        return speak_whole({**frame, "choices": [only], "usage": _NO_USAGE})

    def conclude(self, asked: Asked, watch: Watch, text: str) -> bytes | None:
        """Returns what ends a stream that broke off with a text."""
        # Whose message it is, the stream has said: some packages add up what is said again.
        return b"".join(self._chunks(asked, self._piece({"content": text})))

    def _chunks(self, asked: Asked, piece: Mapping[str, Any]) -> list[bytes]:
        first = {"index": 0, **piece, "finish_reason": None}
        last = {"index": 0, **self._piece({}), "finish_reason": "stop"}
        frame = self._frame(asked, f"{self.kind}.chunk")
        chunks = [event({**frame, "choices": [each]}) for each in (first, last)]
        return [*chunks, b"data: [DONE]\n\n"]

    def _frame(self, asked: Asked, kind: str) -> Mapping[str, Any]:
        return {
            "id": "chatcmpl-headgate",
            "object": kind,
            "created": int(time.time()),
            "model": asked.model,
        }

    def _whole(self, message: Mapping[str, str]) -> Mapping[str, Any]:
        return {"message": message}

    def _piece(self, message: Mapping[str, str]) -> Mapping[str, Any]:
        return {"delta": message}


class TextCompletions(ChatCompletions):
    """POST …/completions."""

    kind = "text_completion"

    def __init__(
        self,
        *,
        bound: str = "max_tokens",
        asks_for_usage: bool = True,
        read_usage: Callable[[object], Meters] = openai.chat,
    ) -> None:
        super().__init__(bound="max_tokens", asks_for_usage=asks_for_usage, read_usage=read_usage)

    def _whole(self, message: Mapping[str, str]) -> Mapping[str, Any]:
        return {"text": message["content"]}

    def _piece(self, message: Mapping[str, str]) -> Mapping[str, Any]:
        return {"text": message.get("content", "")}
