"""Messages of any contract, right and wrong, made by Hypothesis from their descriptors."""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import strategies as st

DEPTH_MAX: Final = 4
REPEATED_COUNT_MAX: Final = 3

# What real callers send, what attackers do, and what nobody thinks of.
TEXTS: Final = st.one_of(
    st.sampled_from(
        [
            "",
            "acme",
            "summarize",
            "openai",
            "gpt-4o-mini",
            "2026-11-26",
            "UTC",
            "01890a5d-ac96-774b-bcce-b302099a8057",
            "ada@example.com",
            "'; DROP TABLE api_key; --",
            "\x00",
            "{}{0}%s%n${x}",
            "../../etc/passwd",
            "\u202e\u0000\uffff",
            "x" * 5_000,
        ]
    ),
    st.text(max_size=40),
)
NUMBERS: Final = {
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: st.integers(0, 2**64 - 1),
    FieldDescriptor.TYPE_DOUBLE: st.floats(),
    FieldDescriptor.TYPE_FLOAT: st.floats(width=32),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=60),
    FieldDescriptor.TYPE_ENUM: st.integers(0, 12) | st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_STRING: TEXTS,
}
# Small numbers pass more checks than random ones.
SMALL: Final = st.integers(0, 200)


def messages(descriptor: Descriptor, depth: int = 0) -> st.SearchStrategy[Message]:
    """Returns a strategy of messages; each field is there or not."""

    @st.composite
    def build(draw: st.DrawFn) -> Message:
        message: Message = GetMessageClass(descriptor)()
        for field in descriptor.fields:
            if draw(st.booleans()):
                _fill(draw, message, field, depth)
        return message

    return build()


def _fill(draw: st.DrawFn, message: Any, field: FieldDescriptor, depth: int) -> None:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        values = messages(kind, depth + 1)
        for _ in range(draw(st.integers(0, REPEATED_COUNT_MAX))):
            entry: Any = draw(values)
            target = getattr(message, field.name)
            if kind.fields_by_name["value"].message_type is not None:
                target[entry.key].CopyFrom(entry.value)
            else:
                target[entry.key] = entry.value
        return
    count = draw(st.integers(0, REPEATED_COUNT_MAX)) if field.is_repeated else 1
    for _ in range(count):
        if kind is not None:
            if depth < DEPTH_MAX:
                part = draw(messages(kind, depth + 1))
                holder = getattr(message, field.name)
                (holder.add() if field.is_repeated else holder).CopyFrom(part)
                if not field.is_repeated:
                    holder.SetInParent()
            continue
        value = draw(_values(field))
        if field.is_repeated:
            getattr(message, field.name).append(value)
        else:
            setattr(message, field.name, value)


def _values(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    values: st.SearchStrategy[Any] = NUMBERS[field.type]
    if field.type in (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_INT64):
        return SMALL | values
    return values
