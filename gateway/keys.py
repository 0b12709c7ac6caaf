"""API keys: `hg_<public part>_<secret>`, shown once and stored as their SHA-256."""

from __future__ import annotations

import enum
import hashlib
import re
import secrets
from dataclasses import dataclass
from typing import Final

# Random bytes in a secret: too many to guess, so a fast hash is enough.
SECRET_BYTES: Final = 32
_KEY_ID_BYTES: Final = 6
_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
# Characters that 32 random bytes fill in base 62.
_SECRET_LENGTH: Final = 43
# The secret holds no "_", so the public part may.
_KEY: Final = re.compile(r"hg_([a-z0-9_-]{1,32})_([A-Za-z0-9-]{43,128})")


class Role(enum.Enum):
    """What a key may do."""

    BACKEND = "backend"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who is calling."""

    key_id: str
    role: Role
    # Orgs that a backend may act for. Empty for admins.
    orgs: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key that was just made. `secret` is the whole key and must not be stored or logged."""

    key_id: str
    secret: str


def make() -> NewKey:
    """Makes a new random key."""
    key_id = f"k_{secrets.token_hex(_KEY_ID_BYTES)}"
    number = int.from_bytes(secrets.token_bytes(SECRET_BYTES))
    digits = []
    for _ in range(_SECRET_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return NewKey(key_id=key_id, secret=f"hg_{key_id}_{''.join(digits)}")


def parse_key_id(key: str) -> str | None:
    """Returns the public part of a whole key, or None if it is not of a key's form."""
    match = _KEY.fullmatch(key)
    return None if match is None else match.group(1)


def hash_key(key: str) -> bytes:
    """Returns what is stored of a whole key."""
    return hashlib.sha256(key.encode()).digest()
