"""Documents: YAML, or JSON, which is YAML too, with the line of every value.

Only what people need to write policies is read: names, lists and texts. Anchors, aliases, tags,
second documents, a name twice, deep nesting and large files are refused. No value is guessed: "no"
and "1e3" stay texts, so that no amount becomes a float.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import typer
import yaml

API_VERSION: Final = "headgate/v1"
BYTES_MAX: Final = 4 * 1024 * 1024
DEPTH_MAX: Final = 16

_Loader: Final[Any] = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader
_LAST_PART: Final = re.compile(r"(\.[^.\[\]]*|\[[^\]]*\]|^[^.\[\]]*)$")


class BadPolicyError(typer.TyperException):
    """What is wrong with files or what they ask for, one line for each place."""

    exit_code = 1


@dataclass(frozen=True)
class Document:
    """One file, as it was written."""

    # As the person named it; "-" is standard input.
    name: str
    content: Mapping[str, Any]
    # By path, such as "limits[3].cap".
    lines: Mapping[str, int]

    def place(self, path: str) -> str:
        """Returns where a value stands, or would: "policy.yaml:12: limits[3].cap"."""
        known = path
        while known and known not in self.lines:
            known = _LAST_PART.sub("", known)
        return f"{self.name}:{self.lines.get(known, 1)}: {path}"


def parse_document(name: str, data: bytes) -> Document:
    """Returns what a file says. Raises BadPolicyError."""
    if len(data) > BYTES_MAX:
        raise BadPolicyError(f"{name}: has {len(data):,} bytes; at most {BYTES_MAX:,} are read")
    try:
        text = data.decode()
        builder = _Builder(name, yaml.parse(text, Loader=_Loader))
        content = builder.document()
    except UnicodeDecodeError as error:
        raise BadPolicyError(f"{name}: is no UTF-8: {error.reason}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        at = f":{mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or " ".join(str(error).split())
        raise BadPolicyError(f"{name}{at}: is no YAML: {problem}") from None
    if not isinstance(content, dict):
        raise BadPolicyError(f"{name}:1: must begin with apiVersion: {API_VERSION}")
    if content.get("apiVersion") != API_VERSION:
        line = builder.lines.get("apiVersion", 1)
        raise BadPolicyError(f"{name}:{line}: apiVersion: must be {API_VERSION}")
    return Document(name, content, builder.lines)


class _Builder:
    """Makes values of a parser's events, so that nothing is followed and nothing is guessed."""

    def __init__(self, name: str, events: Iterator[yaml.Event]) -> None:
        self.lines: dict[str, int] = {}
        self._name = name
        self._events = events

    def document(self) -> Any:
        content = None
        seen = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                seen += 1
                if seen > 1:
                    raise self._refuse(event, "a second document; write one in each file")
            elif not isinstance(
                event, (yaml.StreamStartEvent, yaml.StreamEndEvent, yaml.DocumentEndEvent)
            ):
                content = self._value(event, "", 0)
        return content

    def _value(self, event: yaml.Event, path: str, depth: int) -> Any:
        self.lines.setdefault(path, _line(event))
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise self._refuse(event, "anchors and aliases are not read; write it out")
        if getattr(event, "tag", None):
            raise self._refuse(event, "tags are not read; leave them out")
        if depth > DEPTH_MAX:
            raise self._refuse(event, f"nested deeper than {DEPTH_MAX}")
        if isinstance(event, yaml.ScalarEvent):
            return event.value
        if isinstance(event, yaml.SequenceStartEvent):
            return self._list(path, depth)
        return self._mapping(path, depth)

    def _list(self, path: str, depth: int) -> list[Any]:
        values: list[Any] = []
        for event in self._events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            values.append(self._value(event, f"{path}[{len(values)}]", depth + 1))
        return values

    def _mapping(self, path: str, depth: int) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for event in self._events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            name = self._value(event, "", depth + 1)
            if not isinstance(name, str):
                raise self._refuse(event, "a name must be a text")
            inner = f"{path}.{name}" if path else name
            if name in values:
                raise self._refuse(event, f"{inner}: is there twice")
            self.lines[inner] = _line(event)
            values[name] = self._value(next(self._events), inner, depth + 1)
        return values

    def _refuse(self, event: yaml.Event, problem: str) -> BadPolicyError:
        return BadPolicyError(f"{self._name}:{_line(event)}: {problem}")


def _line(event: yaml.Event) -> int:
    return 1 if event.start_mark is None else event.start_mark.line + 1
