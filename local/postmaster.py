"""Tells whether a Postgres really runs on a data folder, and ends it.

A pid file proves nothing: its process may be dead, a zombie, or by now another program.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

PID_FILE: Final = "postmaster.pid"
# Line numbers in the pid file, from 0.
PID_LINE: Final = 0
PORT_LINE: Final = 3
STATUS_LINE: Final = 7
# Version 3.0 of the wire protocol, which every server speaks.
PROTOCOL_VERSION: Final = 3 << 16
HANDSHAKE_SECONDS: Final = 5.0
# How long a stop waits for running transactions' rollback and the last checkpoint.
FAST_STOP_SECONDS: Final = 30.0
IMMEDIATE_STOP_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Postmaster:
    """A live server process on a data folder."""

    process: psutil.Process
    # None until the server has written it.
    port: int | None
    ready: bool
    stopping: bool


def find_postmaster(data: Path) -> Postmaster | None:
    """The server that runs on `data`, or None; trusts the pid file only after a look at its pid.

    Without a usable pid file all processes are searched.
    """
    lines = _pid_file_lines(data)
    pid = _number(lines, PID_LINE)
    process = _server_process(pid, data) if pid else None
    if process is not None:
        status = lines[STATUS_LINE].strip() if len(lines) > STATUS_LINE else ""
        return Postmaster(
            process=process,
            port=_number(lines, PORT_LINE),
            ready=status == "ready",
            stopping=status == "stopping",
        )
    for other in psutil.process_iter(["pid"]):
        if (process := _server_process(other.pid, data)) is not None:
            # It runs without its pid file and will end by itself within a minute.
            return Postmaster(process=process, port=None, ready=False, stopping=True)
    return None


def takes_connections(port: int) -> bool:
    """Whether the server on loopback answers a start-up message with a question, not a refusal.

    The pid file says "ready" for a moment longer than the server is.
    """
    words = b"user\0postgres\0database\0postgres\0\0"
    message = struct.pack("!ii", len(words) + 8, PROTOCOL_VERSION) + words
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=HANDSHAKE_SECONDS) as peer:
            peer.sendall(message)
            return peer.recv(1) == b"R"
    except OSError:
        return False


def remove_stale_pid_file(data: Path) -> None:
    """Removes the pid file. The caller has found no server and holds the start lock."""
    (data / PID_FILE).unlink(missing_ok=True)


def end(process: psutil.Process, *, immediately: bool = False) -> None:
    """Ends a server: fast (rolls back, writes a checkpoint), then harder if it does not listen."""
    steps = [(signal.SIGQUIT, IMMEDIATE_STOP_SECONDS), (signal.SIGKILL, IMMEDIATE_STOP_SECONDS)]
    if not immediately:
        steps.insert(0, (signal.SIGINT, FAST_STOP_SECONDS))
    for signal_number, seconds in steps:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal_number)
        if wait_gone(process, seconds):
            return


def wait_gone(process: psutil.Process, seconds: float) -> bool:
    """Whether the process ended within the time."""
    with contextlib.suppress(psutil.TimeoutExpired):
        process.wait(timeout=seconds)
    return not is_alive(process)


def is_alive(process: psutil.Process) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _server_process(pid: int, data: Path) -> psutil.Process | None:
    """The process if it is a postmaster on that folder."""
    try:
        process = psutil.Process(pid)
        words = process.cmdline()
        # A zombie has no command line; a back end shows a title instead of one.
        if not words or Path(words[0]).name != "postgres" or process.status() == "zombie":
            return None
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None
    folders = [words[i + 1] for i, word in enumerate(words[:-1]) if word == "-D"]
    return process if any(Path(folder).resolve() == data.resolve() for folder in folders) else None


def _pid_file_lines(data: Path) -> list[str]:
    try:
        return (data / PID_FILE).read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []


def _number(lines: list[str], index: int) -> int | None:
    try:
        return int(lines[index])
    except (IndexError, ValueError):
        return None
