"""Reads a stream's events as they pass, and keeps back what the caller did not ask for."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

# Lines end as the provider likes; an event ends with an empty one.
_ENDS: Final = (b"\n\n", b"\r\n\r\n", b"\r\r")
_DONE: Final = b"[DONE]"


class EventTap:
    """Cuts a stream of server-sent events into events and passes them on as they came.

    `see` gets each event's JSON object and tells whether it may pass; None stands for the mark
    that ends some streams. What is no JSON object passes unseen.
    """

    def __init__(self, see: Callable[[Mapping[str, Any] | None], bool]) -> None:
        self._see = see
        self._waiting = b""

    def feed(self, chunk: bytes) -> bytes:
        """Takes the next bytes; returns what may pass by now."""
        self._waiting += chunk
        return b"".join(each for each in self._cut() if self._may_pass(each))

    def finish(self) -> bytes:
        """Returns what is left at the end: an event that lacks its last line end."""
        rest, self._waiting = self._waiting, b""
        return rest if self._may_pass(rest) else b""

    def _cut(self) -> Iterator[bytes]:
        while True:
            ends = [(at, end) for end in _ENDS if (at := self._waiting.find(end)) >= 0]
            if not ends:
                return
            at, end = min(ends)
            cut = at + len(end)
            event, self._waiting = self._waiting[:cut], self._waiting[cut:]
            yield event

    def _may_pass(self, raw: bytes) -> bool:
        data = b"\n".join(
            line[5:].strip() for line in raw.splitlines() if line.startswith(b"data:")
        )
        if data == _DONE:
            return self._see(None)
        try:
            event = json.loads(data) if data else None
        except (ValueError, RecursionError):
            return True
        return self._see(event) if isinstance(event, Mapping) else True
