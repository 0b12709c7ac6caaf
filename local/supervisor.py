"""Keeps processes and their database running: whatever ends unasked is started again."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Final

from local.databases import Database
from local.errors import LocalError
from local.replica import Replica

# The chassis' exit code for a configuration that no restart will mend.
EXIT_MISCONFIGURED: Final = 2
# Longer than the servers' own longest wait for calls in flight.
DRAIN_SECONDS: Final = 15.0
# How long an end may go unnoticed when no signal tells of it.
ROUND_SECONDS: Final = 1.0
DATABASE_RETRY_SECONDS: Final = 5.0
READY_POLL_SECONDS: Final = 0.1
WAKE_BYTES_MAX: Final = 4096

Say = Callable[[str], None]


class Interruption:
    """Wakes the supervisor: at a signal to stop, and whenever a child process ends."""

    def __init__(self) -> None:
        # How often somebody asked to stop.
        self.stop_count = 0
        # A handler may run in the middle of anything, where it must take no lock: it writes here.
        self._wakened, self._waker = os.pipe()
        for end in (self._wakened, self._waker):
            os.set_blocking(end, False)

    def install(self) -> None:
        """Takes over the signals of this process."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGCHLD, self._on_child)

    def wait(self, seconds: float) -> None:
        """Waits until something happens, at most that long."""
        select.select([self._wakened], [], [], max(seconds, 0.0))
        with contextlib.suppress(BlockingIOError):
            os.read(self._wakened, WAKE_BYTES_MAX)

    def _on_stop(self, _number: int, _frame: FrameType | None) -> None:
        self.stop_count += 1
        self._wake()

    def _on_child(self, _number: int, _frame: FrameType | None) -> None:
        self._wake()

    def _wake(self) -> None:
        # A full pipe wakes as well.
        with contextlib.suppress(BlockingIOError):
            os.write(self._waker, b".")


class Supervisor:
    """Runs the replicas on the database until it is told to stop.

    All its methods belong to the thread that made it: on Linux the processes end with it.
    """

    def __init__(
        self,
        *,
        database: Database,
        groups: Sequence[Sequence[Replica]],
        say: Say,
        interruption: Interruption,
    ) -> None:
        # Start in this order, stop in the opposite one.
        self._groups = groups
        self._database = database
        self._say = say
        self._interruption = interruption
        self._database_due = 0.0

    @property
    def replicas(self) -> list[Replica]:
        """All of them, in the order in which they start."""
        return [replica for group in self._groups for replica in group]

    def tend(self) -> bool:
        """Looks after everything once; tells whether a process was started."""
        started = self._tend_database()
        for replica in self.replicas:
            replica.cut_log()
            if (code := replica.reap()) is not None:
                self._report(replica, code)
            if replica.due is not None and replica.due <= time.monotonic():
                replica.start()
                started = True
        return started

    def require_start(
        self, replicas: Sequence[Replica], is_ready: Callable[[Replica], bool], *, seconds: float
    ) -> None:
        """Waits until the replicas are ready. Raises `LocalError` if one cannot be."""
        deadline = time.monotonic() + seconds
        waiting = list(replicas)
        while waiting and not self._interruption.stop_count:
            self.tend()
            waiting = [each for each in waiting if not (each.is_running and is_ready(each))]
            for replica in waiting:
                if replica.exit_code == EXIT_MISCONFIGURED:
                    raise LocalError(" ".join(replica.last_words()[-1:]) or replica.name)
            if waiting and time.monotonic() > deadline:
                raise LocalError(f"{waiting[0].name} does not get ready: read {waiting[0].log}")
            if waiting:
                self._interruption.wait(READY_POLL_SECONDS)

    def run(self, on_change: Callable[[], None]) -> None:
        """Tends until it is told to stop; `on_change` is called after each restart."""
        while not self._interruption.stop_count:
            if self.tend():
                on_change()
            dues = [replica.due for replica in self.replicas if replica.due is not None]
            soonest = min(dues, default=time.monotonic() + ROUND_SECONDS)
            self._interruption.wait(min(soonest - time.monotonic(), ROUND_SECONDS))

    def stop(self) -> None:
        """Ends everything in order: drains those in front first; the database ends last.

        One more signal to stop ends the wait for calls in flight.
        """
        for group in reversed(self._groups):
            for replica in group:
                replica.signal(signal.SIGTERM)
            self._await_end(group)
        self._database.stop()

    def _await_end(self, group: Sequence[Replica]) -> None:
        asked = self._interruption.stop_count
        deadline = time.monotonic() + DRAIN_SECONDS
        while not all(replica.wait(0) for replica in group):
            if time.monotonic() > deadline or self._interruption.stop_count > asked:
                break
            self._interruption.wait(READY_POLL_SECONDS)
        for replica in group:
            if not replica.wait(0):
                self._say(f"{replica.name} did not drain in time and is killed")
                replica.signal(signal.SIGKILL)
                replica.wait(DRAIN_SECONDS)

    def _tend_database(self) -> bool:
        """Starts the database if it has ended; tells whether it did."""
        if self._database.is_running() or time.monotonic() < self._database_due:
            return False
        self._say("Postgres ended; starting it again")
        try:
            self._database.start()
        except LocalError as error:
            self._database_due = time.monotonic() + DATABASE_RETRY_SECONDS
            self._say(f"Postgres does not start: {error}")
            return False
        self._say("Postgres is back")
        return True

    def _report(self, replica: Replica, code: int) -> None:
        self._say(f"{replica.name} ended ({_describe(code)}); starting it again")
        for line in replica.last_words():
            self._say(f"  {replica.name}: {line}")


def _describe(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"


def say(text: str) -> None:
    """Prints a line with the time."""
    show(f"{time.strftime('%H:%M:%S')} {text}")


def show(text: str) -> None:
    """Prints; a terminal that is gone does not matter."""
    with contextlib.suppress(OSError):
        print(text, flush=True)


def say_error(text: str) -> None:
    """Prints a line to stderr."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)
