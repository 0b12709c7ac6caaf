"""The log of operations: what clients asked, when, and what they heard. One line an event.

Every process appends to a file of its own, each line by one write, so that a `kill -9` loses none.
"""

from __future__ import annotations

import enum
import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class Kind(enum.StrEnum):
    """What an event tells of its operation."""

    INVOKE = "invoke"
    # It was answered; `facts` is the answer.
    OK = "ok"
    # It was refused, for good and without effect.
    FAIL = "fail"
    # Nobody knows whether it happened.
    INFO = "info"


class Action(enum.StrEnum):
    """What a client may ask."""

    ADMIT = "admit"
    COMPLETE = "complete"
    RELEASE = "release"
    EXTEND = "extend"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One line of the log."""

    operation_id: str
    kind: Kind
    time_ns: int
    action: Action
    org: str
    call_id: str
    # What was asked, what was answered, or why not.
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One attempt, from what was asked to what was heard."""

    operation_id: str
    action: Action
    org: str
    call_id: str
    request: dict[str, Any]
    # INFO too when the client died before it heard.
    kind: Kind
    facts: dict[str, Any]
    invoke_ns: int
    end_ns: int | None


class Log:
    """Appends events to a file."""

    def __init__(self, path: Path, *, process: str) -> None:
        self._path = path
        self._process = process
        self._count = 0
        self._file = -1

    def __enter__(self) -> Self:
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._file)

    def invoke(self, action: Action, org: str, call_id: str, request: dict[str, Any]) -> Event:
        """Notes what is about to be asked."""
        self._count += 1
        event = Event(
            operation_id=f"{self._process}/{self._count}",
            kind=Kind.INVOKE,
            time_ns=time.time_ns(),
            action=action,
            org=org,
            call_id=call_id,
            facts=request,
        )
        self._write(event)
        return event

    def end(self, invoked: Event, kind: Kind, facts: dict[str, Any]) -> None:
        """Notes what was heard."""
        self._write(
            Event(
                operation_id=invoked.operation_id,
                kind=kind,
                time_ns=time.time_ns(),
                action=invoked.action,
                org=invoked.org,
                call_id=invoked.call_id,
                facts=facts,
            )
        )

    def _write(self, event: Event) -> None:
        os.write(self._file, (json.dumps(asdict(event)) + "\n").encode())


def read(folder: Path) -> list[Operation]:
    """All operations that the logs in the folder tell of, in the order in which they began."""
    return pair(event for path in sorted(folder.glob("*.jsonl")) for event in _events(path))


def pair(events: Iterable[Event]) -> list[Operation]:
    """Joins what was asked with what was heard."""
    asked: dict[str, Event] = {}
    heard: dict[str, Event] = {}
    for event in events:
        known = asked if event.kind is Kind.INVOKE else heard
        assert event.operation_id not in known, event
        known[event.operation_id] = event
    assert heard.keys() <= asked.keys()
    operations = [_join(event, heard.get(name)) for name, event in asked.items()]
    return sorted(operations, key=lambda each: each.invoke_ns)


def _join(asked: Event, heard: Event | None) -> Operation:
    return Operation(
        operation_id=asked.operation_id,
        action=asked.action,
        org=asked.org,
        call_id=asked.call_id,
        request=asked.facts,
        kind=Kind.INFO if heard is None else heard.kind,
        facts={} if heard is None else heard.facts,
        invoke_ns=asked.time_ns,
        end_ns=None if heard is None else heard.time_ns,
    )


def _events(path: Path) -> Iterator[Event]:
    for line in path.read_text().splitlines():
        fields = json.loads(line)
        yield Event(**fields | {"kind": Kind(fields["kind"]), "action": Action(fields["action"])})
