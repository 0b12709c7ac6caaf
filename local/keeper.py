"""Keeps a temporary Postgres for as long as another process lives.

Run as `python -m local.keeper PID`. Prints the superuser's URL when the server is ready, or one
line on stderr. Several processes can so share a server that none of them owns, and a killed one
leaves nothing behind.
"""

from __future__ import annotations

import signal
import sys
import threading

import psutil

from local.errors import LocalError
from local.postgres import EmbeddedPostgres

USAGE = "usage: python -m local.keeper PID"


def keep(pid: int) -> None:
    """Runs a server until the process ends or SIGTERM comes."""
    asked = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: asked.set())
    try:
        watched = psutil.Process(pid)
    except psutil.NoSuchProcess:
        return
    with EmbeddedPostgres(temporary=True) as server:
        print(server.url, flush=True)
        threading.Thread(target=_watch, args=(watched, asked), daemon=True).start()
        asked.wait()


def _watch(process: psutil.Process, ended: threading.Event) -> None:
    process.wait()
    ended.set()


def main(argv: list[str]) -> int:
    """Parses the arguments; returns the exit code."""
    if len(argv) != 1 or not argv[0].isdigit():
        print(USAGE, file=sys.stderr)
        return 2
    try:
        keep(int(argv[0]))
    except LocalError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
