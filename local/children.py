"""Child processes that do not outlive their parent, and locks between processes."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from local.accounts import Account
from local.errors import LocalError

TIED: Final = Path(__file__).with_name("tied.py")
LOCK_POLL_SECONDS: Final = 0.05


def spawn(
    argv: Sequence[str | Path],
    *,
    account: Account | None,
    environment: Mapping[str, str],
    output: IO[bytes] | int,
    death_signal: int,
) -> subprocess.Popen[bytes]:
    """Starts a program in a session of its own, so that Ctrl-C reaches only us.

    On Linux the kernel sends it `death_signal` when the calling thread ends; elsewhere an orphan
    is left to the next start.
    """
    user = "-" if account is None else f"{account.uid}:{account.gid}"
    # No `preexec_fn`, no `user`: with them Python forks, without it may spawn.
    return subprocess.Popen(
        [sys.executable, "-I", "-S", TIED, str(os.getpid()), str(death_signal), user, *argv],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd="/",
        env=dict(environment),
        start_new_session=True,
    )


@contextmanager
def locked(path: Path, *, wait_seconds: float) -> Iterator[None]:
    """Holds an exclusive lock that ends with the process, however that ends."""
    with path.open("ab") as file:
        deadline = time.monotonic() + wait_seconds
        while not try_lock(file):
            if time.monotonic() > deadline:
                raise LocalError(f"another process holds {path}: wait for it or stop it")
            time.sleep(LOCK_POLL_SECONDS)
        yield


def try_lock(file: IO[bytes]) -> bool:
    """Takes the file's exclusive lock if nobody holds it; closing the file gives it back."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
