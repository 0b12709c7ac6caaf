"""Random secrets that can be told from other texts: a prefix, 256 random bits, a checksum.

The checksum proves nothing. It lets scanners of leaked secrets, and us, tell a real one from a
typing error without asking a database.
"""

from __future__ import annotations

import hashlib
import secrets
import zlib
from typing import Final

# Random bytes in a secret: too many to guess, so a fast hash is enough to store it.
SECRET_BYTES: Final = 32
CHECKSUM_LENGTH: Final = 6
# Characters that 32 random bytes fill in base 62.
SECRET_LENGTH: Final = 43
_ALPHABET: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def make(prefix: str) -> str:
    """Returns the prefix, a random secret and their checksum."""
    number = int.from_bytes(secrets.token_bytes(SECRET_BYTES))
    text = prefix + _base62(number, SECRET_LENGTH)
    return text + checksum(text)


def checksum(text: str) -> str:
    """Returns the six characters that stand behind the text: its CRC-32 in base 62."""
    return _base62(zlib.crc32(text.encode()), CHECKSUM_LENGTH)


def is_whole(token: str, prefix: str) -> bool:
    """Says whether the text can be a token of the prefix, as `make` returns it."""
    return (
        len(token) == len(prefix) + SECRET_LENGTH + CHECKSUM_LENGTH
        and token.isascii()
        and token.startswith(prefix)
        and checksum(token[:-CHECKSUM_LENGTH]) == token[-CHECKSUM_LENGTH:]
    )


def digest(token: str) -> bytes:
    """Returns what is stored of a token: its SHA-256."""
    return hashlib.sha256(token.encode()).digest()


def _base62(number: int, length: int) -> str:
    digits = []
    for _ in range(length):
        number, digit = divmod(number, len(_ALPHABET))
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
