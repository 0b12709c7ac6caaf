"""Tells which request is another try of one that failed just before."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final


@dataclass(slots=True)
class Repetition:
    """Equal requests of one caller, the first of which failed; so did all but the latest."""

    fingerprint: bytes
    # The first call's id. Empty: nothing has been asked yet.
    call_id: str = ""
    # The latest one failed in a way that lets a provider's SDK try again.
    failed: bool = False


# Of the running task or thread: what another one asks is no repetition, even if it is equal.
_latest: Final[ContextVar[Repetition | None]] = ContextVar("headgate_repetition", default=None)


@contextlib.contextmanager
def repeating(request: Any) -> Iterator[Repetition]:
    """Yields the repetition that a request belongs to, and remembers it if the request fails."""
    head = f"{request.method} {request.url}\n".encode()
    fingerprint = hashlib.blake2b(head + request.content, digest_size=16).digest()
    repetition = _latest.get()
    if repetition is None or repetition.fingerprint != fingerprint:
        repetition = Repetition(fingerprint)
    repetition.failed = False
    try:
        yield repetition
    finally:
        _latest.set(repetition if repetition.failed else None)
