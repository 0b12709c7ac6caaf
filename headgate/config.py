"""What the SDK reads from its environment: whom to ask, where that is, and with which key."""

from __future__ import annotations

import enum
import os
from pathlib import Path
from typing import Final

from headgate.channel import Tls

DEFAULT_TARGET: Final = "127.0.0.1:7400"
MODE_VARIABLE: Final = "HEADGATE_MODE"
TARGET_VARIABLE: Final = "HEADGATE_TARGET"
KEY_VARIABLE: Final = "HEADGATE_API_KEY"
CA_VARIABLE: Final = "HEADGATE_TLS_CA_FILE"


class Mode(enum.Enum):
    """Whom the SDK asks."""

    # The gateway.
    ON = "on"
    # Nobody: each call goes, to its default candidate, and nothing is booked.
    OFF = "off"
    # A gateway in memory: `headgate.testing`.
    FAKE = "fake"


def read_mode() -> Mode:
    """Returns what HEADGATE_MODE says; on, if it is not set. Raises ValueError."""
    text = os.environ.get(MODE_VARIABLE, "").strip().lower()
    if not text:
        return Mode.ON
    try:
        return Mode(text)
    except ValueError:
        known = ", ".join(each.value for each in Mode)
        raise ValueError(f"{MODE_VARIABLE} is {text!r}; it must be one of {known}") from None


def read_target() -> str:
    """Returns where the gateway is: on this machine, if HEADGATE_TARGET is not set."""
    return os.environ.get(TARGET_VARIABLE, "") or DEFAULT_TARGET


def read_key() -> str:
    """Returns the API key. Raises ValueError if there is none."""
    key = os.environ.get(KEY_VARIABLE, "")
    if not key:
        raise ValueError(f"no API key: pass api_key, or set {KEY_VARIABLE}")
    return key


def read_tls() -> Tls | None:
    """Returns whom to trust if HEADGATE_TLS_CA_FILE says so. Raises ValueError."""
    path = os.environ.get(CA_VARIABLE, "")
    if not path:
        return None
    try:
        return Tls(root_certificates=Path(path).read_bytes())
    except OSError as error:
        raise ValueError(f"{CA_VARIABLE}: can't read {path}: {error.strerror}") from None
