"""Confirmations: what stops calls is asked for twice, the second time with a token.

The token says who may stop what until when, signed by the gateways' key: whoever calls the API by
mistake, or repeats an old request, stops nothing. Any gateway takes it; none has to remember it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import time
from collections.abc import Mapping
from typing import Final

import grpc

from chassis.clock import Clock
from chassis.errors import ServiceError

# How long a confirmation may be used.
LIFETIME_SECONDS: Final = 120
# Apart from permits, which the same keys sign.
_PURPOSE: Final = b"headgate confirmation\0"
_DIGEST_SIZE: Final = 32
_TIME_SIZE: Final = 8


class ConfirmationRequired(ServiceError):  # noqa: N818 - named like the status it becomes
    """The token is missing, too old, or another order's or another person's."""

    def __init__(self) -> None:
        super().__init__(
            "ask with PrepareKill first and send its confirmation token with the same fields, "
            "within two minutes",
            code=grpc.StatusCode.FAILED_PRECONDITION,
            reason="CONFIRMATION_REQUIRED",
        )


class Confirmations:
    """Makes and checks tokens."""

    def __init__(self, keys: Mapping[str, bytes], *, now: Clock = time.time) -> None:
        """The first key signs, all verify, so that keys can be rotated."""
        self._keys = list(keys.values())
        self._now = now

    def make(self, actor: str, order: bytes) -> str:
        """Returns the token with which the actor may give exactly this order."""
        until = int(self._now() + LIFETIME_SECONDS).to_bytes(_TIME_SIZE, "big")
        signed = until + _sign(self._keys[0], actor, order, until)
        return base64.urlsafe_b64encode(signed).decode()

    def check(self, token: str, actor: str, order: bytes) -> None:
        """Raises ConfirmationRequired unless the token is the actor's for exactly this order."""
        try:
            raw = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            raise ConfirmationRequired from None
        until, digest = raw[:_TIME_SIZE], raw[_TIME_SIZE:]
        known = (_sign(key, actor, order, until) for key in self._keys)
        if len(digest) != _DIGEST_SIZE or not any(hmac.compare_digest(digest, k) for k in known):
            raise ConfirmationRequired
        if int.from_bytes(until, "big") < self._now():
            raise ConfirmationRequired


def _sign(key: bytes, actor: str, order: bytes, until: bytes) -> bytes:
    # The actor's length first: where it ends must not be a matter of its contents.
    named = actor.encode()
    facts = _PURPOSE + until + len(named).to_bytes(4, "big") + named + order
    return hmac.digest(key, facts, "sha256")
