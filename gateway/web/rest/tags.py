"""Tags of versions: what a thing is (`ETag`), and that it must still be so (`If-Match`).

Contracts say which things have versions, by the names of their fields: a request that may ask for
a version has a field of EXPECTATIONS, and its answer, or what is read at the same path, holds one
of VERSIONS. All else that is read has a tag of its bytes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from http import HTTPMethod, HTTPStatus
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from starlette.datastructures import Headers

from chassis.errors import ServiceError
from gateway.web.rest.bindings import Binding
from gateway.web.rest.problems import RequestRefusedError

EXPECTATIONS: Final = ("expected_version", "base_revision")
VERSIONS: Final = ("version", "revision")
# How the reasons end of a change that came too late.
CHANGED: Final = "_CHANGED"
DEPTH_MAX: Final = 2
_TAG: Final = re.compile(r'"(0|[1-9][0-9]{0,17})"')
_ANY: Final = "*"
_INTEGERS: Final = (FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64)


class Tags:
    """The tags of one request's kind."""

    def __init__(self, binding: Binding, versioned_paths: Iterable[str]) -> None:
        """`versioned_paths`: those where things with versions are."""
        self._is_read = binding.verb == HTTPMethod.GET and not binding.streams
        self.expectation = find_expectation(binding)
        # What the answer to a change, or to a read of the same thing, has as its tag.
        self._version: tuple[str, ...] = ()
        if self.expectation is not None or (self._is_read and binding.path in versioned_paths):
            self._version = _find_version(binding.response)

    @property
    def answers_one(self) -> bool:
        """Whether answers have a tag."""
        return self._is_read or bool(self._version)

    def tag(self, message: Message, body: bytes) -> str | None:
        """Returns the tag of an answer; None: it has none."""
        held: Any = message
        for name in self._version:
            held = getattr(held, name)
        if self._version:
            return f'"{held}"'
        return f'"{hashlib.sha256(body).hexdigest()[:32]}"' if self._is_read else None

    def is_known(self, headers: Headers, tag: str | None) -> bool:
        """Whether the client has what it would be answered."""
        shown = headers.get("if-none-match", "") if self._is_read else ""
        tags = {each.strip().removeprefix("W/") for each in shown.split(",")}
        return tag is not None and (tag in tags or _ANY in tags)

    def expect(self, headers: Headers) -> Mapping[str, str]:
        """Returns the field that says what a change is about. Raises RequestRefusedError."""
        shown, is_new = headers.get("if-match"), headers.get("if-none-match")
        if self._is_read or (shown is None and is_new is None):
            return {}
        if self.expectation is None:
            raise _refuse("this request changes nothing that has a version: send no such header")
        if is_new is not None:
            if shown is not None or is_new != _ANY or not self.expectation.has_presence:
                raise _refuse("send the tag of an answer as `if-match`")
            return {self.expectation.name: "0"}
        found = _TAG.fullmatch(shown or "")
        if found is None:
            raise _refuse('send one tag of an answer, such as `if-match: "7"`')
        return {self.expectation.name: found[1]}


def find_expectation(binding: Binding) -> FieldDescriptor | None:
    """Returns the field that says which version a change is about."""
    if binding.verb == HTTPMethod.GET:
        return None
    fields = binding.request.fields_by_name
    return next((fields[name] for name in EXPECTATIONS if name in fields), None)


def find_versioned_paths(bindings: Iterable[Binding]) -> frozenset[str]:
    """Returns the paths where things with versions are."""
    return frozenset(each.path for each in bindings if find_expectation(each) is not None)


def fail_precondition(error: ServiceError, headers: Headers) -> RequestRefusedError | ServiceError:
    """Returns the failure of a request that names a version, in the words of HTTP."""
    if error.reason.endswith(CHANGED) and ("if-match" in headers or "if-none-match" in headers):
        return RequestRefusedError(
            HTTPStatus.PRECONDITION_FAILED, error.reason, error.message, metadata=error.metadata
        )
    return error


def _find_version(message: Descriptor, depth: int = 0) -> tuple[str, ...]:
    fields = message.fields_by_name
    for name in VERSIONS:
        if name in fields and fields[name].cpp_type in _INTEGERS:
            return (name,)
    if depth == DEPTH_MAX:
        return ()
    for field in message.fields:
        if field.message_type is not None and not field.is_repeated:
            found = _find_version(field.message_type, depth + 1)
            if found:
                return (field.name, *found)
    return ()


def _refuse(message: str) -> RequestRefusedError:
    return RequestRefusedError(HTTPStatus.BAD_REQUEST, "INVALID_HEADER", message)
