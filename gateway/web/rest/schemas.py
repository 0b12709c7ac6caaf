"""Messages as JSON schemas, in protobuf's JSON form."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

Schema = dict[str, Any]

_INT64: Final[Schema] = {"type": "string", "format": "int64", "pattern": "^-?[0-9]+$"}
_UINT64: Final[Schema] = {"type": "string", "format": "uint64", "pattern": "^[0-9]+$"}
_INT32: Final[Schema] = {"type": "integer", "format": "int32"}
_UINT32: Final[Schema] = {"type": "integer", "format": "int64", "minimum": 0}
_SCALARS: Final[Mapping[int, Schema]] = {
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.TYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.TYPE_INT32: _INT32,
    FieldDescriptor.TYPE_INT64: _INT64,
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_UINT32: _UINT32,
    FieldDescriptor.TYPE_UINT64: _UINT64,
}
_WELL_KNOWN: Final[Mapping[str, Schema]] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Duration": {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,9})?s$"},
}


def is_scalar(message: Descriptor) -> bool:
    """Whether the message is one text in JSON."""
    return message.full_name in _WELL_KNOWN


def refer(message: Descriptor) -> Schema:
    """Returns the reference to a message's schema."""
    return {"$ref": f"#/components/schemas/{message.full_name}"}


def describe_messages(roots: Iterable[Descriptor], comments: Mapping[str, str]) -> Schema:
    """Returns the schemas of these messages and of all that they hold, by name."""
    found: Schema = {}
    waiting = list(roots)
    while waiting:
        message = waiting.pop()
        if message.full_name in found or is_scalar(message):
            continue
        found[message.full_name] = _describe_message(message, comments)
        for field in message.fields:
            inside = _value_of(field).message_type
            if inside is not None:
                waiting.append(inside)
    return dict(sorted(found.items()))


def describe_field(field: FieldDescriptor, comments: Mapping[str, str]) -> Schema:
    """Returns the schema of a field's value."""
    value = _value_of(field)
    schema: Schema
    if value.message_type is not None:
        known = _WELL_KNOWN.get(value.message_type.full_name)
        schema = dict(known) if known else refer(value.message_type)
    elif value.enum_type is not None:
        schema = _describe_enum(value.enum_type, comments)
    else:
        schema = dict(_SCALARS[value.type])
    if value is not field:
        return {"type": "object", "additionalProperties": schema}
    return {"type": "array", "items": schema} if field.is_repeated else schema


def _describe_message(message: Descriptor, comments: Mapping[str, str]) -> Schema:
    properties: Schema = {}
    for field in message.fields:
        schema = describe_field(field, comments)
        said = comments.get(field.full_name, "")
        if said:
            schema["description"] = said
        if field.GetOptions().debug_redact:
            schema["format"] = "password"
        properties[field.json_name] = schema
    described: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
    if message.full_name in comments:
        described["description"] = comments[message.full_name]
    return described


def _describe_enum(enum: EnumDescriptor, comments: Mapping[str, str]) -> Schema:
    names = [value.name for value in enum.values]
    told = [(name, comments.get(f"{enum.full_name}.{name}")) for name in names]
    lines = [f"- `{name}`: {said}" for name, said in told if said]
    schema: Schema = {"type": "string", "enum": names}
    if lines:
        schema["description"] = "\n".join(lines)
    return schema


def find_field(message: Descriptor, path: str) -> FieldDescriptor:
    """Returns the field at a dotted path. Raises LookupError."""
    first, _, rest = path.partition(".")
    field = message.fields_by_name[first]
    if not rest:
        return field
    if field.message_type is None:
        raise LookupError(f"{path} leads through a field that holds none")
    return find_field(field.message_type, rest)


def _value_of(field: FieldDescriptor) -> FieldDescriptor:
    """Returns the field of a map's values, else the field itself."""
    entry = field.message_type
    if entry is not None and entry.GetOptions().map_entry:
        return entry.fields_by_name["value"]
    return field
