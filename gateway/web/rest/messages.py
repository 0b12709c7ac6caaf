"""Between the parts of an HTTP request and the message that they are."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Never

from google.protobuf import json_format, message_factory
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from chassis.errors import FieldViolation
from gateway.web.rest.bindings import WHOLE_BODY, Binding
from gateway.web.rest.problems import RequestRefusedError, refuse_fields

# Nothing of ours is nested deeper; what is was made to exhaust whoever reads it.
NESTING_MAX: Final = 32
_WELL_KNOWN: Final = "google.protobuf."
_TRUTHS: Final = {"true": True, "false": False}
# How the library begins the name of what is wrong.
_PARSED_FIELD: Final = re.compile(r"^Failed to parse (\S+) field: ")
# And how it ends.
_PLACE: Final = re.compile(r"( at [\w.]+)?\.*$")
_UNKNOWN_FIELD: Final = re.compile(r'no field named "([^"]*)" at "([^"]*)"')

Json = dict[str, Any]


def read_message(
    binding: Binding, said: Mapping[str, str], query: Iterable[tuple[str, str]], body: bytes
) -> Message:
    """Returns the message that a request asks for. Raises RequestRefusedError.

    `said`: fields that its path and its headers say.
    """
    document = _read_body(binding, body)
    for name, value in said.items():
        _set(document, binding.request, name, value, once=True)
    for name, value in query:
        if binding.body == WHOLE_BODY:
            _refuse(name, "this request takes no query parameters: send its fields in the body")
        _set(document, binding.request, name, value, once=False)
    message = message_factory.GetMessageClass(binding.request)()
    try:
        json_format.ParseDict(document, message, max_recursion_depth=NESTING_MAX)
    except json_format.ParseError as error:
        _refuse(*_explain(str(error)))
    except (ValueError, RecursionError) as error:
        _refuse("", str(error)[:200])
    return message


def write_message(message: Message) -> Json:
    """Returns a message as a JSON object; fields without a value are there too."""
    document: Json = json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
    return document


def hide_secrets(message: Message) -> Message:
    """Returns the message without what its contract marks as secret."""
    secrets = [f for f in message.DESCRIPTOR.fields if f.GetOptions().debug_redact]
    if not secrets:
        return message
    shown = type(message)()
    shown.CopyFrom(message)
    for field in secrets:
        shown.ClearField(field.name)
    return shown


def _read_body(binding: Binding, body: bytes) -> Json:
    if not binding.body:
        if body:
            _refuse("", "this request has no body")
        return {}
    held = _load(body) if body else {}
    if binding.body == WHOLE_BODY:
        return held
    return {binding.body: held}


def _load(body: bytes) -> Json:
    try:
        document = json.loads(body, parse_constant=_no_constant, object_pairs_hook=_no_doubles)
    except UnicodeDecodeError:
        _refuse("", "the body is not UTF-8")
    except RecursionError:
        _refuse("", "the body is nested too deeply")
    except json.JSONDecodeError as error:
        _refuse("", f"the body is not JSON at character {error.pos}: {error.msg}")
    except ValueError as error:
        _refuse("", f"the body is not JSON: {error}")
    if not isinstance(document, dict):
        _refuse("", "the body must be a JSON object")
    return document


def _no_constant(name: str) -> Never:
    raise ValueError(f"{name} is no number of JSON")


def _no_doubles(pairs: list[tuple[str, Any]]) -> Json:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return document


def _set(document: Json, within: Descriptor, name: str, value: str, *, once: bool) -> None:
    """Puts a text from the path or the query where its dotted name says."""
    *parents, last = name.split(".")
    for parent in parents:
        field = _find(within, parent, name)
        if field.message_type is None or field.is_repeated:
            _refuse(name, "has no such field")
        document = document.setdefault(field.name, {})
        within = field.message_type
    field = _find(within, last, name)
    if _is_structure(field):
        _refuse(name, "can be sent in a body only")
    read = _read_text(field, name, value)
    if field.is_repeated:
        document.setdefault(field.name, []).append(read)
    elif once:
        _set_once(document, field, name, read)
    elif field.name in document:
        _refuse(name, "is given twice")
    else:
        document[field.name] = read


def _set_once(document: Json, field: FieldDescriptor, name: str, value: Any) -> None:
    """Sets what the path or a header says; a body may say the same, and nothing else."""
    for spelling in (field.name, field.json_name):
        if str(document.pop(spelling, value)) != str(value):
            _refuse(name, "differs between the body and the path, or a header")
    document[field.name] = value


def _find(within: Descriptor, name: str, path: str) -> FieldDescriptor:
    field = within.fields_by_name.get(name) or within.fields_by_camelcase_name.get(name)
    if field is None:
        _refuse(path[:100], "is unknown: see the API's document for the fields of this request")
    return field


def _is_structure(field: FieldDescriptor) -> bool:
    kind = field.message_type
    return kind is not None and not kind.full_name.startswith(_WELL_KNOWN)


def _read_text(field: FieldDescriptor, name: str, value: str) -> Any:
    if field.cpp_type != FieldDescriptor.CPPTYPE_BOOL:
        return value
    if value not in _TRUTHS:
        _refuse(name, "must be true or false")
    return _TRUTHS[value]


def _explain(said: str) -> tuple[str, str]:
    """Splits what the library says into the path of the field and what is wrong with it."""
    names = []
    while (found := _PARSED_FIELD.match(said)) is not None:
        names.append(found[1])
        said = said[found.end() :]
    unknown = _UNKNOWN_FIELD.search(said)
    if unknown is not None:
        inside = unknown[2].partition(".")[2]
        names = [*([inside] if inside else []), unknown[1]]
        said = "is unknown: see the API's document for the fields of this request"
    return ".".join(names)[:200], _PLACE.sub("", said)[:200]


def _refuse(field: str, description: str) -> Never:
    raise refuse_fields([FieldViolation(field, description)]) from None


def refuse_type(shown: str) -> RequestRefusedError:
    """Returns the refusal of a body that is no JSON."""
    return RequestRefusedError(
        415,
        "UNSUPPORTED_MEDIA_TYPE",
        f"send the body as `content-type: application/json`, not {shown[:100] or 'untyped'}",
    )
