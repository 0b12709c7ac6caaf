"""What one endpoint's requests and answers look like."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headgate.usage.counts import Meters


class UnreadableError(Exception):
    """The request is not one that this endpoint takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A request as it came."""

    # Where it goes, without what belongs to the provider's base URL.
    path: str
    content: bytes
    content_type: str = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a request asks for."""

    sent: Sent
    # The content as JSON, or the texts of a form.
    body: Mapping[str, Any]
    model: str
    streams: bool = False
    # Bound of the whole output, over all choices. None: the request sets none.
    max_output_tokens: int | None = None
    # How many answers are asked for; each may be as long as the bound that is sent.
    choice_count: int = 1
    # Upper bound of the input.
    input_tokens: int = 0
    # Upper bounds of what is not tokens, by the names of the meters.
    max_units: Mapping[str, int] = field(default_factory=dict)

    def needs_bound(self, max_output_tokens: int) -> bool:
        """Tells whether the admitted bound must be written; 0 is none, when nobody has decided."""
        return self.max_output_tokens is None and max_output_tokens > 0


@dataclass(slots=True)
class Progress:
    """How far an answer has come whose pieces are numbered."""

    # The answer has begun.
    begun: bool = False
    # Number of the next piece.
    next_index: int = 0
    # Number of the piece that has begun and not ended. None: there is none.
    open_index: int | None = None
    # The open piece is a text, which can go on.
    is_text: bool = False

    def open(self, index: object, *, is_text: bool) -> None:
        """Notes that a piece begins."""
        self.open_index, self.is_text = whole(index) or 0, is_text
        self.next_index = max(self.next_index, self.open_index + 1)

    def close(self) -> None:
        """Notes that the open piece ends."""
        self.open_index = None


@dataclass(slots=True)
class Watch:
    """What a stream has told so far."""

    # What holds if the stream is cut now; a count that only tells how it began is none.
    meters: Meters = field(default_factory=dict)
    # Usage that is not complete yet, as the provider writes it.
    partial: object = None
    # The answer is complete.
    ended: bool = False
    # The provider's word for why it broke off. Empty: it did not.
    failure: str = ""
    # How far the answer has come, where what ends it must fit to what was told.
    progress: Progress = field(default_factory=Progress)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """A text as an answer of the provider would carry it."""

    content_type: str
    content: bytes


class Shape(ABC):
    """One endpoint. Its methods are pure, but for what `see` notes."""

    # Whose base URL and authentication the endpoint belongs to.
    family: str

    def as_spoken_by(self, dialect: str) -> Shape:
        """Returns the shape as a provider of the family speaks it."""
        return self

    @abstractmethod
    def read(self, sent: Sent) -> Asked:
        """Returns what a request asks for. Raises UnreadableError."""

    @abstractmethod
    def write(self, asked: Asked, *, model: str, max_output_tokens: int) -> tuple[str, bytes]:
        """Returns path and content of the request for a model, bounded and telling its usage."""

    @abstractmethod
    def meters(self, asked: Asked, answer: object) -> Meters:
        """Returns what a whole answer says was used."""

    def watch(self, asked: Asked) -> Watch:
        """Returns what is known of a stream before it has told anything."""
        return Watch()

    def see(self, asked: Asked, watch: Watch, event: Mapping[str, Any]) -> bool:
        """Notes what an event of a stream tells. False: the caller must not see it."""
        return True

    def speak(self, asked: Asked, text: str) -> Spoken | None:
        """Returns a text as this endpoint's answer. None: its answers are no texts."""
        return None

    def conclude(self, asked: Asked, watch: Watch, text: str) -> bytes | None:
        """Returns what ends a stream that broke off with a text. None: it can't be ended so."""
        return None


def parse_object(content: bytes) -> dict[str, Any]:
    """Returns the JSON object. Raises UnreadableError."""
    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        raise UnreadableError("the body is no JSON") from None
    if not isinstance(body, dict):
        raise UnreadableError("the body is no JSON object")
    return body


def render(body: Mapping[str, Any]) -> bytes:
    """Returns the JSON text; its escapes keep what is no character as it came."""
    return json.dumps(body, separators=(",", ":")).encode()


def event(body: Mapping[str, Any], name: str = "") -> bytes:
    """Returns a server-sent event."""
    line = b"data: " + render(body) + b"\n\n"
    return b"event: " + name.encode() + b"\n" + line if name else line


def speak_whole(body: Mapping[str, Any]) -> Spoken:
    """Returns an answer in one piece."""
    return Spoken(content_type="application/json", content=render(body))


def speak_events(*events: bytes) -> Spoken:
    """Returns an answer that is a stream."""
    return Spoken(content_type="text/event-stream", content=b"".join(events))


def at(value: object, name: str) -> Any:
    """Returns the member of that name. None: there is none."""
    return value.get(name) if isinstance(value, Mapping) else None


def whole(value: object) -> int | None:
    """Returns the value if it is an integer of 0 or more."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def text(value: object) -> str:
    """Returns the value if it is a text, else an empty one."""
    return value if isinstance(value, str) else ""
