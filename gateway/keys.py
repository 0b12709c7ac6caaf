"""API keys: `hg_<public part>_<secret>`, shown once and stored as their SHA-256.

A key that was made here is `hg_k_<12 hexadecimal digits>_<43 letters and digits><6 of checksum>`.
Keys that somebody brings along may have other public parts, and no checksum then.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from typing import Final

from gateway import tokens

_KEY_ID_BYTES: Final = 6
# The secret holds no "_", so the public part may.
_KEY: Final = re.compile(r"hg_([a-z0-9_-]{1,32})_([A-Za-z0-9-]{43,128})")
# Such a public part, with a secret of this length, was made with a checksum.
_MADE_HERE: Final = re.compile(r"hg_k_[0-9a-f]{12}_[0-9A-Za-z]{49}")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key that was just made. `secret` is the whole key and must not be stored or logged."""

    key_id: str
    secret: str


def make() -> NewKey:
    """Makes a new random key."""
    key_id = f"k_{secrets.token_hex(_KEY_ID_BYTES)}"
    return NewKey(key_id=key_id, secret=tokens.make(f"hg_{key_id}_"))


def parse_key_id(key: str) -> str | None:
    """Returns the public part of a whole key, or None if it is not of a key's form."""
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    key_id = match.group(1)
    if _MADE_HERE.fullmatch(key) and not tokens.is_whole(key, f"hg_{key_id}_"):
        return None
    return key_id


def hash_key(key: str) -> bytes:
    """Returns what is stored of a whole key."""
    return tokens.digest(key)
