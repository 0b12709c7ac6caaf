"""Signatures of webhooks, as Standard Webhooks has them: HMAC-SHA256 over id, time and body."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

# Marks a secret as one.
MARK: Final = "whsec_"
SECRET_BYTES: Final = 32
# What the specification allows.
SECRET_BYTES_MIN: Final = 24
SECRET_BYTES_MAX: Final = 64


def format_secret(key: bytes) -> str:
    """Returns a secret as receivers configure it."""
    return MARK + base64.b64encode(key).decode()


def parse_secret(secret: str) -> bytes:
    """Returns a secret's key. Raises ValueError if it is none."""
    try:
        key = base64.b64decode(secret.removeprefix(MARK), validate=True)
    except binascii.Error:
        key = b""
    if not SECRET_BYTES_MIN <= len(key) <= SECRET_BYTES_MAX:
        raise ValueError("not a secret of a webhook")
    return key


def sign(secrets: Sequence[str], *, message_id: str, timestamp: int, body: bytes) -> str:
    """Returns the value of the header `webhook-signature`: one signature for each secret.

    While a secret is replaced there are two, and a receiver that knows either accepts it.
    """
    content = f"{message_id}.{timestamp}.".encode() + body
    digests = (hmac.digest(parse_secret(each), content, hashlib.sha256) for each in secrets)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)
