"""Secrets of channels at rest: AES-256-GCM, by keys that the database never sees."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_ID_LENGTH_MAX: Final = 32


class VaultError(Exception):
    """Something can't be sealed or opened: no key, another key, or it was tampered with."""


class Vault:
    """Seals with its first key, opens with any. Without keys it can neither."""

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._keys = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self._first = next(iter(keys), None)

    def seal(self, secret: str, *, place: str) -> bytes:
        """Encrypts a secret for one place, such as a channel's name: elsewhere it does not open.

        Raises VaultError if there is no key.
        """
        if self._first is None:
            raise VaultError("no key is configured")
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._keys[self._first].encrypt(nonce, secret.encode(), place.encode())
        key_id = self._first.encode()
        return bytes([len(key_id)]) + key_id + nonce + sealed

    def open(self, sealed: bytes, *, place: str) -> str:
        """Decrypts a secret. Raises VaultError."""
        length = sealed[0] + 1
        key_id = sealed[1:length].decode()
        nonce, body = sealed[length : length + _NONCE_BYTES], sealed[length + _NONCE_BYTES :]
        if key_id not in self._keys:
            raise VaultError(f"key {key_id} is not configured")
        try:
            return self._keys[key_id].decrypt(nonce, body, place.encode()).decode()
        except InvalidTag:
            raise VaultError(f"key {key_id} does not open it") from None


def parse_keys(text: str) -> dict[str, bytes]:
    """Parses `id:hex[,id:hex]`, the sealing key first. Raises ValueError."""
    keys: dict[str, bytes] = {}
    for position, entry in enumerate(text.split(","), start=1):
        key_id, _, digits = entry.strip().partition(":")
        if not (key_id.isascii() and key_id.isalnum() and len(key_id) <= _ID_LENGTH_MAX):
            raise ValueError(f"entry {position} must be `id:hex` with an id of letters and digits")
        try:
            key = bytes.fromhex(digits)
        except ValueError:
            key = b""
        if len(key) != KEY_BYTES:
            raise ValueError(f"entry {position} must hold {KEY_BYTES} bytes in hexadecimal")
        if key_id in keys:
            raise ValueError(f"entry {position} repeats the id {key_id}")
        keys[key_id] = key
    return keys
