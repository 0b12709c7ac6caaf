"""The environment variables and folders of a local run; nothing else here reads either."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

CHECKOUT: Final = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The folders of a local run."""

    # Data, secrets and logs of this checkout alone.
    state: Path
    # What all checkouts of this user share, such as the copied server binaries.
    shared: Path
    # Where folders that live as long as one process are made.
    scratch: Path


def places(state: Path | None = None) -> Places:
    """Finds the folders; `state` replaces HEADGATE_STATE_DIR, which replaces the default."""
    shared = _shared()
    chosen = state or _path("HEADGATE_STATE_DIR")
    # As root the temporary folder may lie where the unprivileged server cannot go.
    scratch = shared / "scratch" if os.geteuid() == 0 else Path(tempfile.gettempdir())
    return Places(
        state=chosen.absolute() if chosen else shared / _checkout_name(),
        shared=shared,
        scratch=scratch,
    )


def external_database_url() -> str | None:
    """The admin URL of a server that replaces the embedded one, or None."""
    return os.environ.get("HEADGATE_DATABASE_URL") or None


def search_path() -> str:
    """Where programs are looked up."""
    return os.environ.get("PATH") or os.defpath


def settings_of(deployable: str) -> dict[str, str]:
    """The deployable's settings that the user chose, such as HEADGATE_GATEWAY_LOG_LEVEL."""
    prefix = f"HEADGATE_{deployable.upper()}_"
    return {name: value for name, value in os.environ.items() if name.startswith(prefix)}


def _shared() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/headgate")
    return (_path("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "headgate"


def _checkout_name() -> str:
    """The folder's name for people, a hash of its whole path for uniqueness."""
    return f"{CHECKOUT.name}-{hashlib.sha256(str(CHECKOUT).encode()).hexdigest()[:10]}"


def _path(variable: str) -> Path | None:
    value = os.environ.get(variable)
    return Path(value) if value else None
