"""Secrets of a local system: made once, kept in files that only their owner can read."""

from __future__ import annotations

import secrets
import string
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from local.accounts import make_folder
from local.errors import LocalError

ORGS: Final = ("demo-acme", "demo-globex", "demo-initech")
_ALPHABET: Final = string.ascii_letters + string.digits
# Characters that hold at least 256 random bits.
_SECRET_LENGTH: Final = 43
_TOKEN_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What the processes show each other, and people show the gateway."""

    # What the services show each other.
    service_token: str
    # What permits are signed with, in hexadecimal.
    permit_key: str
    # What seals the secrets of channels, in hexadecimal.
    channel_key: str
    # The whole keys by the org that they may act for.
    api_keys: dict[str, str]
    admin_key: str
    # By which somebody becomes the first admin, once.
    staff_token: str
    # Postgres role -> password.
    passwords: dict[str, str]
    # Whether nobody has seen the keys yet.
    fresh: bool

    def owner(self, deployable: str) -> tuple[str, str]:
        """Role and password of the owner of the deployable's schema."""
        return self._login(f"headgate_{deployable}_owner")

    def runtime(self, deployable: str) -> tuple[str, str]:
        """Role and password that the deployable's processes use."""
        return self._login(f"headgate_{deployable}")

    def _login(self, role: str) -> tuple[str, str]:
        return role, self.passwords[role]


def load_or_make(folder: Path, *, deployables: Iterable[str]) -> Credentials:
    """Reads the secrets and makes those that are missing. Raises `LocalError`."""
    make_folder(folder, mode=0o700)
    roles = [f"headgate_{name}{suffix}" for name in deployables for suffix in ("_owner", "")]
    files = _Files(folder)
    return Credentials(
        service_token=files.secret("service-token", _make_token),
        permit_key=files.secret("permit-key", partial(secrets.token_hex, _TOKEN_BYTES)),
        channel_key=files.secret("channel-key", partial(secrets.token_hex, _TOKEN_BYTES)),
        passwords={role: files.secret(f"password-{role}", _make_token) for role in roles},
        api_keys={org: files.secret(f"key-{org}", partial(_make_key, org)) for org in ORGS},
        admin_key=files.secret("key-admin", partial(_make_key, "admin")),
        staff_token=files.secret("staff-token", _make_token),
        fresh=files.wrote,
    )


class _Files:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.wrote = False

    def secret(self, name: str, make: Callable[[], str]) -> str:
        """The file's content; if there is no file, what `make` returns and the file then has."""
        path = self._folder / name
        try:
            if path.exists():
                return path.read_text().strip()
            value = make()
            draft = path.with_name(f".{name}")
            draft.unlink(missing_ok=True)
            draft.touch(mode=0o600)
            draft.write_text(value + "\n")
            draft.replace(path)
        except OSError as error:
            raise LocalError(
                f"cannot read or write {path} ({error.strerror}):"
                " give it back to the user who runs this, or set HEADGATE_STATE_DIR"
            ) from error
        self.wrote = True
        return value


def _make_token() -> str:
    return secrets.token_urlsafe(_TOKEN_BYTES)


def _make_key(name: str) -> str:
    secret = "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_LENGTH))
    # The public part names the key in listings. A new secret needs a new one.
    return f"hg_{name.replace('-', '_')}_{secrets.token_hex(3)}_{secret}"
