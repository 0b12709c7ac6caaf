"""Tokens that let a page read one org's status for a while, and nothing else.

A browser can keep no API key. The token says whose status until when, signed by the gateways' key;
any gateway takes it, and none has to remember it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from chassis.clock import Clock
from chassis.errors import Unauthenticated

LIFETIME_SECONDS: Final = 3_600
TOKEN_LENGTH_MAX: Final = 256
# Apart from permits and confirmations, which the same keys sign.
_PURPOSE: Final = b"headgate status\0"
_DIGEST_SIZE: Final = 32
_TIME_SIZE: Final = 8


@dataclass(frozen=True, slots=True)
class Reader:
    """Who reads: one org's status, for so many seconds from now on."""

    org: str
    seconds: float


class StatusTokens:
    """Makes and checks tokens."""

    def __init__(self, keys: Mapping[str, bytes], *, now: Clock = time.time) -> None:
        """The first key signs, all verify, so that keys can be rotated."""
        self._keys = list(keys.values())
        self._now = now

    def make(self, org: str) -> str:
        """Returns a token that reads the org's status."""
        facts = int(self._now() + LIFETIME_SECONDS).to_bytes(_TIME_SIZE, "big") + org.encode()
        signed = hmac.digest(self._keys[0], _PURPOSE + facts, "sha256") + facts
        return base64.urlsafe_b64encode(signed).decode().rstrip("=")

    def read(self, token: str) -> Reader:
        """Returns whose status the token reads, and for how long. Raises Unauthenticated."""
        raw = b""
        if len(token) <= TOKEN_LENGTH_MAX:
            try:
                padded = token.encode() + b"=" * (-len(token) % 4)
                raw = base64.b64decode(padded, altchars=b"-_", validate=True)
            except (binascii.Error, ValueError):
                raw = b""
        digest, facts = raw[:_DIGEST_SIZE], raw[_DIGEST_SIZE:]
        known = (hmac.digest(key, _PURPOSE + facts, "sha256") for key in self._keys)
        if not any(hmac.compare_digest(digest, each) for each in known):
            raise Unauthenticated("the status token is not one of ours")
        seconds = int.from_bytes(facts[:_TIME_SIZE], "big") - self._now()
        if seconds < 0:
            raise Unauthenticated("the status token is too old; get a new one")
        return Reader(facts[_TIME_SIZE:].decode(), seconds)
