"""Forms with files, as uploads are sent."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from headgate.dialects.shape import UnreadableError

_BOUNDARY: Final = re.compile(r'boundary="?([^";,]{1,200})"?', re.IGNORECASE)
_NAME: Final = re.compile(rb'(?i)content-disposition:[^\r\n]*[; ]name="([^"\r\n]*)"')
_FILENAME: Final = re.compile(rb'(?i)content-disposition:[^\r\n]*filename\*?="?([^"\r\n;]*)')
_BLANK: Final = b"\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One member of a form."""

    name: str
    # Where its headers and its value stand in the content.
    head: int
    start: int
    end: int
    is_file: bool


def parse(content: bytes, content_type: str) -> tuple[Part, ...]:
    """Returns the form's parts, in order. Raises UnreadableError."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise UnreadableError("the form has no boundary")
    return tuple(_walk(content, b"--" + found[1].encode("latin-1", "replace")))


def read_fields(content: bytes, parts: tuple[Part, ...]) -> Mapping[str, str]:
    """Returns the texts among the parts; of several of one name, the last."""
    return {
        part.name: content[part.start : part.end].decode("utf-8", "replace")
        for part in parts
        if not part.is_file
    }


def file_kind(content: bytes, part: Part) -> str:
    """Returns the ending of a file's name, such as "wav". Empty: it has none."""
    found = _FILENAME.search(content[part.head : part.start])
    return found[1].decode("latin-1").rpartition(".")[2].lower() if found else ""


def replace(content: bytes, part: Part, value: str) -> bytes:
    """Returns the content with another value of one part."""
    return content[: part.start] + value.encode() + content[part.end :]


def _walk(content: bytes, delimiter: bytes) -> Iterator[Part]:
    at = content.find(delimiter)
    while at >= 0:
        begin = at + len(delimiter)
        if content[begin : begin + 2] == b"--":
            return
        head_end = content.find(_BLANK, begin)
        at = content.find(b"\r\n" + delimiter, begin)
        if head_end < 0 or at < 0:
            raise UnreadableError("the form is cut off")
        head = content[begin:head_end]
        name = _NAME.search(head)
        if name is not None:
            yield Part(
                name=name[1].decode("utf-8", "replace"),
                head=begin,
                start=head_end + len(_BLANK),
                end=at,
                is_file=_FILENAME.search(head) is not None,
            )
        at += 2
