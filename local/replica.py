"""One process of the system: starts it, notices its end, starts it again on the same port."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from local import config
from local.children import spawn
from local.endpoints import Identity

# The first restart is immediate; a process that keeps ending waits ever longer.
RESTART_DELAYS_SECONDS: Final = (0.0, 0.5, 1.0, 2.0, 5.0, 10.0)
# A process that lived this long is no longer counted as one that keeps ending.
STEADY_SECONDS: Final = 30.0
LOG_BYTES_MAX: Final = 8 * 1024 * 1024
SHOWN_LINE_COUNT: Final = 5
SHOWN_LINE_LENGTH: Final = 300


class Replica:
    """A process and its log file. Start it from the thread that lives as long as it shall."""

    def __init__(
        self, *, name: str, argv: Sequence[str], environment: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self.log = log
        self._argv = argv
        self._environment = environment
        self._child: subprocess.Popen[bytes] | None = None
        self._start_time = 0.0
        self._log_offset = 0
        self._end_count = 0
        self._due: float | None = None
        # How the last run ended; None before an end and once it runs again.
        self.exit_code: int | None = None

    @property
    def identity(self) -> Identity | None:
        """The process that runs; None if none does."""
        return None if self._child is None else Identity.of(self._child.pid)

    @property
    def is_running(self) -> bool:
        """Whether the process lives, as far as `reap` knows."""
        return self._child is not None

    @property
    def due(self) -> float | None:
        """When it shall be started again, by the monotonic clock."""
        return self._due

    def start(self) -> None:
        """Starts the process; its output is appended to the log."""
        self._due = self.exit_code = None
        self.cut_log()
        with self.log.open("ab") as output:
            self._log_offset = output.tell()
            self._child = spawn_python(self._argv, self._environment, output)
        self._start_time = time.monotonic()

    def reap(self) -> int | None:
        """The exit code if the process has ended since the last look; plans the next start."""
        if self._child is None or (code := self._child.poll()) is None:
            return None
        self._child, self.exit_code = None, code
        now = time.monotonic()
        if now - self._start_time >= STEADY_SECONDS:
            self._end_count = 0
        self._due = now + RESTART_DELAYS_SECONDS[min(self._end_count, _LAST_DELAY)]
        self._end_count += 1
        return code

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal, if the process lives."""
        if self._child is not None:
            self._child.send_signal(number)

    def wait(self, seconds: float) -> bool:
        """Whether the process has ended by itself within the time."""
        if self._child is None:
            return True
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._child.wait(timeout=seconds)
            self._child = None
        return self._child is None

    def last_words(self) -> list[str]:
        """What the last run wrote at its end, without the routine."""
        with self.log.open("rb") as file:
            file.seek(self._log_offset)
            lines = file.read().decode(errors="replace").splitlines()
        telling = [line for line in lines if line.strip() and not _is_routine(line)]
        return [line[:SHOWN_LINE_LENGTH] for line in telling[-SHOWN_LINE_COUNT:]]

    def cut_log(self) -> None:
        """Moves a log that has grown too long away; whoever writes goes on in an empty file.

        A line written in that very moment may be lost.
        """
        if not self.log.exists() or self.log.stat().st_size <= LOG_BYTES_MAX:
            return
        self.log.with_suffix(".log.old").write_bytes(self.log.read_bytes())
        # Not renamed: the process holds the file open, for appending.
        self.log.open("wb").close()
        self._log_offset = 0


_LAST_DELAY: Final = len(RESTART_DELAYS_SECONDS) - 1


def spawn_python(
    argv: Sequence[str], environment: Mapping[str, str], output: IO[bytes]
) -> subprocess.Popen[bytes]:
    """Starts our Python with the checkout as its import root and a minimal environment."""
    inherited = {"PATH": config.search_path(), "PYTHONPATH": str(config.CHECKOUT)}
    return spawn(
        [sys.executable, *argv],
        account=None,
        environment={**inherited, "PYTHONUNBUFFERED": "1", **environment},
        output=output,
        # Whatever it was doing is safe to lose; a process that lingers would keep its port.
        death_signal=signal.SIGKILL,
    )


def _is_routine(line: str) -> bool:
    try:
        level = json.loads(line).get("level", "info")
    except (ValueError, AttributeError):
        return False
    return level in ("debug", "info")
