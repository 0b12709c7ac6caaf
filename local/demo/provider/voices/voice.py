"""What an interface has to say of a call."""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from local.demo.provider.generation import OUTPUT_TOKENS_MAX, ChatRequest, Generation

# What a part of a message counts that is no text.
MEDIUM_TOKENS: Final = 250
NONSENSE: Final[tuple[Any, ...]] = ("many", -3, 1.5, None, {"tokens": []})


class BadRequestError(Exception):
    """The request is not one that the endpoint takes."""


@dataclass(slots=True, kw_only=True)
class Call:
    """One call on its way."""

    call_id: str
    provider: str
    request: ChatRequest
    course: Generation
    start: float = field(default_factory=time.monotonic)
    token_count: int = 0

    @property
    def words(self) -> str:
        """The whole answer."""
        usage = self.course.usage
        return "word " * (usage.completion_tokens - usage.reasoning_tokens)


class Voice(ABC):
    """One interface that answers with text, whole or bit by bit."""

    @abstractmethod
    def parse(self, params: Mapping[str, str], body: Mapping[str, Any]) -> ChatRequest:
        """Reads a request; raises BadRequestError with what is wrong."""

    @abstractmethod
    def usage(self, call: Call) -> dict[str, Any]:
        """Returns the usage object."""

    @abstractmethod
    def whole(self, call: Call, usage: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the answer in one piece."""

    @abstractmethod
    def begin(self, call: Call, usage: Mapping[str, Any]) -> Sequence[bytes]:
        """Returns the events before the first word."""

    @abstractmethod
    def piece(self, call: Call, words: str) -> bytes:
        """Returns the event that carries some words."""

    @abstractmethod
    def end(self, call: Call, usage: Mapping[str, Any]) -> Sequence[bytes]:
        """Returns the events after the last word."""

    def error(self, status: int, message: str) -> dict[str, Any]:
        """Returns the body of an error."""
        return {"error": {"message": message, "type": "stand_in", "code": str(status)}}

    def tell_usage(self, call: Call) -> dict[str, Any]:
        """Returns the usage object, which is nonsense if that is the call's fault."""
        told = self.usage(call)
        if call.course.fault != "garbage":
            return told
        return dict(zip(told, NONSENSE * len(told), strict=False))


def event(body: Mapping[str, Any], name: str = "") -> bytes:
    """Returns a server-sent event."""
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {json.dumps(body)}\n\n".encode()


def read_model(body: Mapping[str, Any]) -> str:
    """Returns the model's name."""
    model = body.get("model")
    if not isinstance(model, str):
        raise BadRequestError("model must be a string")
    return model


def read_bound(name: str, value: object) -> int:
    """Returns the bound of the output."""
    if value is None:
        return OUTPUT_TOKENS_MAX
    if type(value) is not int or not 1 <= value <= OUTPUT_TOKENS_MAX:
        raise BadRequestError(f"{name} must be an integer from 1 to {OUTPUT_TOKENS_MAX}")
    return value


def read_messages(name: str, messages: object, *, content: str = "content") -> int:
    """Returns how many tokens the messages have."""
    if not isinstance(messages, list) or not messages:
        raise BadRequestError(f"{name} must be a list with at least one message")
    return sum(_count(message, content) for message in messages)


def count_words(text: str) -> int:
    """Counts words: a tokenizer that both sides can agree on without a vocabulary."""
    return len(text.split())


def _count(message: object, name: str) -> int:
    content = message.get(name) if isinstance(message, Mapping) else None
    if isinstance(content, str):
        return count_words(content)
    if not isinstance(content, list):
        raise BadRequestError(f"messages[].{name} must be a string or a list of parts")
    texts = [part.get("text") for part in content if isinstance(part, Mapping)]
    return sum(count_words(each) if isinstance(each, str) else MEDIUM_TOKENS for each in texts)
