"""Becomes a program that ends with whoever started it: `tied.py PARENT SIGNAL USER PROGRAM ...`.

USER is `UID:GID`, or `-` for the one that runs this. It is a program of its own, since the steps
between a fork and an exec may run nothing here: a fork of a process that uses gRPC runs its
handlers, which have crashed the child.
"""

from __future__ import annotations

import ctypes
import os
import sys
from typing import Final

# The number of prctl's operation in the Linux headers.
PR_SET_PDEATHSIG: Final = 1


def main(parent: str, death_signal: str, user: str, *argv: str) -> None:
    """Changes the user, ties this process to its parent, and becomes the program."""
    if user != "-":
        uid, gid = map(int, user.split(":"))
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        # After the change of user, which would clear the setting.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        # The parent may have ended before the line above: then no signal comes.
        if os.getppid() != int(parent):
            sys.exit(1)
    try:
        os.execv(argv[0], argv)
    except OSError as error:
        sys.exit(f"can't start {argv[0]}: {error.strerror}")


if __name__ == "__main__":
    main(*sys.argv[1:])
