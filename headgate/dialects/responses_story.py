"""What a stream of OpenAI's Responses API has told so far, and how a text ends it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from headgate.dialects.shape import Watch, text, whole

_ITEM_ID: Final = "msg_headgate"
# An event's type and what else it tells.
Told = tuple[str, dict[str, Any]]


@dataclass(slots=True)
class _Item:
    """A member of the output."""

    value: Mapping[str, Any]
    # What of its content has begun; only messages have such.
    parts: list[dict[str, Any]] = field(default_factory=list)
    ended: bool = False
    # The last part is a text that can go on.
    is_open: bool = False

    def now(self) -> Mapping[str, Any]:
        """Returns the item with what has been told of it."""
        if self.ended:
            return self.value
        if self.parts:
            return {**self.value, "status": "completed", "content": self.parts}
        return {**self.value, "status": "incomplete"}


@dataclass(slots=True)
class Story(Watch):
    """A watch that remembers the output, because a stream's last event repeats it."""

    # The response as it began. Empty: it has not.
    response: Mapping[str, Any] = field(default_factory=dict)
    items: dict[int, _Item] = field(default_factory=dict)
    next_number: int = 0

    def follow(self, kind: str, event: Mapping[str, Any]) -> None:
        """Notes what an event adds."""
        self.next_number = (whole(event.get("sequence_number")) or 0) + 1
        if kind == "response.created" and isinstance(event.get("response"), Mapping):
            self.response = event["response"]
        index, value = whole(event.get("output_index")), event.get("item")
        if index is not None and kind.startswith("response.output_item."):
            value = value if isinstance(value, Mapping) else {}
            self.items[index] = _Item(value, ended=kind.endswith(".done"))
        elif index in self.items:
            _follow(self.items[index], kind, event)

    def conclude(self, said: str) -> list[Told]:
        """Returns what ends the response with a text, in the message that is open or in a new one.

        What else was being told, such as a function's arguments, is marked as incomplete.
        """
        index = max(self.items, default=-1)
        item = self.items.get(index)
        told: list[Told] = []
        if item is None or not item.is_open:
            index, item = index + 1, _Item(message([]), [text_part("")])
            place = _place(item, index)
            told = [
                ("response.output_item.added", {"output_index": index, "item": message([])}),
                ("response.content_part.added", {**place, "part": text_part("")}),
            ]
        place = _place(item, index)
        part = {**item.parts[-1], "text": item.parts[-1]["text"] + said}
        ended = _Item(item.value, [*item.parts[:-1], part]).now()
        # Packages insist on everything that has begun.
        before = [self.items[each].now() for each in sorted(self.items) if each != index]
        answer = {**self.response, "status": "completed", "output": [*before, ended]}
        return [
            *told,
            ("response.output_text.delta", {**place, "delta": said, "logprobs": []}),
            ("response.output_text.done", {**place, "text": part["text"], "logprobs": []}),
            ("response.content_part.done", {**place, "part": part}),
            ("response.output_item.done", {"output_index": index, "item": ended}),
            ("response.completed", {"response": answer}),
        ]


def message(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns an assistant's message."""
    return {
        "id": _ITEM_ID,
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": parts,
    }


def text_part(said: str) -> dict[str, Any]:
    """Returns a text as a part of a message."""
    return {"type": "output_text", "text": said, "annotations": []}


def _place(item: _Item, index: int) -> dict[str, Any]:
    return {
        "item_id": text(item.value.get("id")),
        "output_index": index,
        "content_index": len(item.parts) - 1,
    }


def _follow(item: _Item, kind: str, event: Mapping[str, Any]) -> None:
    """Notes what an event adds to an item."""
    part = event.get("part")
    if kind == "response.content_part.added" and isinstance(part, Mapping):
        item.is_open = part.get("type") == "output_text"
        item.parts.append({**part, "text": text(part.get("text"))} if item.is_open else {**part})
    elif kind == "response.output_text.delta" and item.is_open:
        item.parts[-1]["text"] += text(event.get("delta"))
    elif kind == "response.content_part.done" and item.parts and isinstance(part, Mapping):
        item.parts[-1], item.is_open = {**part}, False
