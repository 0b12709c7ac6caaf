"""Pages of a list: how many, and where the next one starts."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from typing import Final

from chassis.errors import FieldViolation, InvalidArgument

PAGE_SIZE_DEFAULT: Final = 50
PAGE_SIZE_MAX: Final = 1_000
_DIGEST_SIZE: Final = 8

# What a cursor and the parameters it is bound to are made of.
Scalar = str | int | bool | None


def page_size(
    value: int, *, default: int = PAGE_SIZE_DEFAULT, maximum: int = PAGE_SIZE_MAX
) -> int:
    """Returns the rows to read: 0 is the default, too many are coerced, negative is refused."""
    if value < 0:
        violation = FieldViolation("page_size", "must not be negative; 0 asks for the default")
        raise InvalidArgument([violation])
    return min(value or default, maximum)


def encode_token(cursor: tuple[Scalar, ...], **parameters: Scalar) -> str:
    """Returns an opaque token of the last row's sort key, bound to the list's other parameters.

    It is not secret and not signed: whoever reads the list may read it from anywhere.
    """
    body = json.dumps(cursor, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_digest(parameters) + body).rstrip(b"=").decode()


def decode_token(token: str, **parameters: Scalar) -> tuple[Scalar, ...] | None:
    """Returns the cursor, or None for the first page.

    Raises InvalidArgument when the token is not ours or belongs to other parameters.
    """
    if not token:
        return None
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        cursor = json.loads(raw[_DIGEST_SIZE:])
    except (binascii.Error, ValueError):
        cursor, raw = None, b""
    if not _is_cursor(cursor):
        raise _refusal("is not one of ours; start again without it")
    if raw[:_DIGEST_SIZE] != _digest(parameters):
        raise _refusal("belongs to other parameters; repeat those it was given for")
    return tuple(cursor)


def _is_cursor(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(v, Scalar) for v in value)


def _digest(parameters: dict[str, Scalar]) -> bytes:
    text = json.dumps(parameters, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST_SIZE).digest()


def _refusal(description: str) -> InvalidArgument:
    return InvalidArgument([FieldViolation("page_token", description)])
