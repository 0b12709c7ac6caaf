"""Where secrets may be sent."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


def check_address(address: str) -> str:
    """Returns an address of the provider: over TLS, or on this machine. Raises ValueError."""
    parts = urlsplit(address)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK)
    if not is_safe or not parts.hostname or parts.username is not None:
        raise ValueError("an address of the OpenID provider is not https")
    return address
