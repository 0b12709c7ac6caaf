"""The system user that Postgres runs as: it refuses to run as root."""

from __future__ import annotations

import os
import pwd
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from local.errors import LocalError

# The user without rights that every Unix has.
UNPRIVILEGED: Final = "nobody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A user and its group, by number, as a process drops to them."""

    uid: int
    gid: int
    name: str


def server_account() -> Account | None:
    """The account to drop to when root; None when the own account will do.

    Raises `LocalError` for an own account that initdb would refuse.
    """
    if os.geteuid() != 0:
        _own_name()
        return None
    try:
        entry = pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        raise LocalError(
            "Postgres refuses to run as root and there is no user `nobody` to run it:"
            " add one, or set HEADGATE_DATABASE_URL"
        ) from None
    return Account(uid=entry.pw_uid, gid=entry.pw_gid, name=entry.pw_name)


def make_folder(path: Path, *, mode: int, account: Account | None = None) -> None:
    """Makes the folder and its missing parents; folders that exist keep their mode."""
    if path.is_dir():
        return
    try:
        for missing in reversed([path, *path.parents]):
            if not missing.exists():
                missing.mkdir(exist_ok=True)
                # mkdir's own mode is cut by the umask of the shell.
                missing.chmod(mode if missing == path or account is None else 0o755)
        if account is not None:
            os.chown(path, account.uid, account.gid)
    except OSError as error:
        raise LocalError(
            f"cannot make the folder {path} ({error.strerror}): set HEADGATE_STATE_DIR"
        ) from error


def check_reach(path: Path, account: Account | None) -> None:
    """Raises `LocalError` when the account cannot go through the parents of `path`."""
    if account is None:
        return
    for folder in path.parents:
        if folder.exists() and not _passable(folder.stat(), account):
            raise LocalError(
                f"user {account.name}, which runs Postgres for root, cannot pass {folder}:"
                " set HEADGATE_STATE_DIR to a folder outside of it"
            )


def give(path: Path, account: Account | None) -> None:
    """Makes the account the owner of a file."""
    if account is not None:
        shutil.chown(path, account.uid, account.gid)


def _passable(status: os.stat_result, account: Account) -> bool:
    if status.st_uid == account.uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid == account.gid:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)


def _own_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise LocalError(
            f"user id {os.geteuid()} has no entry in /etc/passwd, and initdb refuses to run"
            " without: add one, or set HEADGATE_DATABASE_URL"
        ) from None
