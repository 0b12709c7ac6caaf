"""What the tests of the launcher share: queries, folders and starters in other processes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import asyncpg
import psutil

from local import postmaster

CHECKOUT = Path(__file__).resolve().parents[3]
WAIT_SECONDS = 60.0

# Starts a server on the folder, or a temporary one, prints URL and pid, and waits to be killed.
STARTER = """
import sys, time
from pathlib import Path
from local.postgres import EmbeddedPostgres
folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
server = EmbeddedPostgres(folder=folder, temporary=folder is None)
print(server.start(), server.pid, server.data, flush=True)
time.sleep(600)
"""


def start_elsewhere(folder: Path | None) -> subprocess.Popen[str]:
    """Starts the server in another Python; its answer is one line on stdout."""
    words = [sys.executable, "-c", STARTER] + ([] if folder is None else [str(folder)])
    return subprocess.Popen(words, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)


def read_answer(starter: subprocess.Popen[str]) -> tuple[str, int, Path]:
    """URL, pid and data folder of a server started elsewhere."""
    assert starter.stdout is not None
    url, pid, data = starter.stdout.readline().split()
    return url, int(pid), Path(data)


def kill(starter: subprocess.Popen[str]) -> None:
    starter.kill()
    starter.wait()
    assert starter.stdout is not None
    starter.stdout.close()


def is_gone(pid: int) -> bool:
    try:
        return not postmaster.is_alive(psutil.Process(pid))
    except psutil.NoSuchProcess:
        return True


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


async def run(url: str, statement: str) -> object:
    """Runs one statement; returns the first value of its answer."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()
