"""Child processes that do not outlive their parent, and locks between processes."""

from __future__ import annotations

import ctypes
import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from local.accounts import Account
from local.errors import LocalError

# The number of prctl's operation in the Linux headers.
PR_SET_PDEATHSIG: Final = 1
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
    return subprocess.Popen(
        [str(word) for word in argv],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd="/",
        env=dict(environment),
        start_new_session=True,
        user=None if account is None else account.uid,
        group=None if account is None else account.gid,
        extra_groups=None if account is None else [],
        # Runs after the change of user, which would clear the setting.
        preexec_fn=die_with_parent(death_signal),  # noqa: PLW1509 - makes two system calls only
    )


def die_with_parent(death_signal: int) -> Callable[[], None] | None:
    """Builds the step between fork and exec that ties the child to this process."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def tie() -> None:
        prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        # The parent may have ended before the line above: then no signal comes.
        if os.getppid() != parent:
            os._exit(1)

    return tie


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
