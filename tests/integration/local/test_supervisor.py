"""The supervisor with small real processes in place of the servers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local import replica as replica_module
from local.databases import Database
from local.errors import LocalError
from local.replica import Replica
from local.supervisor import Interruption, Supervisor
from tests.integration.local.servers import CHECKOUT, WAIT_SECONDS, is_gone, wait_until

WAITS = "import time; time.sleep(600)"
DRAINS = (
    "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); print('ready');"
    " signal.pause()"
)
IGNORES = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready');"
    " [signal.pause() for _ in iter(int, 1)]"
)


class SteadyDatabase:
    pid = None

    def __init__(self) -> None:
        self.events: list[str] = []
        self.running = True
        self.failures = 0

    def start(self) -> str:
        self.events.append("start")
        if self.failures:
            self.failures -= 1
            raise LocalError("no disk")
        self.running = True
        return "postgresql://"

    def is_running(self) -> bool:
        return self.running

    def stop(self) -> None:
        self.events.append("stop")


class Stage:
    """A supervisor and what it says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.said: list[str] = []
        self.database = SteadyDatabase()
        self.interruption = Interruption()
        self.supervisor: Supervisor | None = None

    def replica(self, name: str, code: str) -> Replica:
        return Replica(
            name=name, argv=["-c", code], environment={}, log=self.folder / f"{name}.log"
        )

    def supervise(self, *groups: list[Replica]) -> Supervisor:
        database: Database = self.database
        self.supervisor = Supervisor(
            database=database,
            groups=groups,
            say=self.said.append,
            interruption=self.interruption,
        )
        for replica in self.supervisor.replicas:
            replica.start()
        return self.supervisor

    def tend_until(self, condition: Callable[[], bool]) -> None:
        assert self.supervisor is not None
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition():
            assert time.monotonic() < deadline, self.said
            self.supervisor.tend()
            self.interruption.wait(0.02)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    if stage.supervisor is not None:
        for replica in stage.supervisor.replicas:
            replica.signal(signal.SIGKILL)
            replica.wait(WAIT_SECONDS)


def pid_of(replica: Replica) -> int | None:
    return None if replica.identity is None else replica.identity.pid


def wrote(replica: Replica, text: str) -> Callable[[], bool]:
    return lambda: text in replica.log.read_text()


def test_a_killed_process_is_started_again_and_said_so(stage: Stage) -> None:
    replica = stage.replica("gateway-0", WAITS)
    stage.supervise([replica])
    first = pid_of(replica)
    assert first is not None
    os.kill(first, signal.SIGKILL)
    stage.tend_until(lambda: pid_of(replica) not in (None, first))

    assert stage.said == ["gateway-0 ended (SIGKILL); starting it again"]


def test_a_process_that_keeps_ending_waits_longer_each_time(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica_module, "RESTART_DELAYS_SECONDS", (0.0, 0.1, 0.2))
    monkeypatch.setattr(replica_module, "_LAST_DELAY", 2)
    replica = stage.replica("health-0", "raise SystemExit(3)")
    stage.supervise([replica])
    waits = []

    def ended_four_times() -> bool:
        if replica.due is not None:
            waits.append(replica.due)
        return len(stage.said) >= 4

    stage.tend_until(ended_four_times)
    dues = sorted(set(waits))

    assert stage.said[0] == "health-0 ended (exit code 3); starting it again"
    # Each due time is at least its delay after the one before.
    assert [b - a >= delay for a, b, delay in zip(dues, dues[1:], (0.1, 0.2), strict=False)]
    assert dues[-1] - dues[0] >= 0.3


def test_what_a_process_said_last_is_shown_without_its_routine(stage: Stage) -> None:
    code = (
        'print(\'{"level": "info", "event": "listening"}\');'
        'print(\'{"level": "error", "event": "crashed"}\'); raise SystemExit(\'out of luck\')'
    )
    replica = stage.replica("admission-0", code)
    stage.supervise([replica])
    stage.tend_until(lambda: bool(stage.said))

    assert stage.said[:3] == [
        "admission-0 ended (exit code 1); starting it again",
        '  admission-0: {"level": "error", "event": "crashed"}',
        "  admission-0: out of luck",
    ]


def test_a_wrong_configuration_ends_the_start_with_the_processs_own_line(stage: Stage) -> None:
    code = "import sys; sys.stderr.write('gateway: HEADGATE_X: wrong\\n'); sys.exit(2)"
    replica = stage.replica("gateway-0", code)
    supervisor = stage.supervise([replica])

    with pytest.raises(LocalError, match=r"^gateway: HEADGATE_X: wrong$"):
        supervisor.require_start([replica], lambda _: False, seconds=WAIT_SECONDS)


def test_a_process_that_does_not_get_ready_ends_the_start(stage: Stage) -> None:
    replica = stage.replica("health-0", WAITS)
    supervisor = stage.supervise([replica])

    with pytest.raises(LocalError, match=r"health-0 does not get ready: read .*health-0\.log"):
        supervisor.require_start([replica], lambda _: False, seconds=0.1)


def test_those_in_front_end_before_those_behind_and_the_database_last(stage: Stage) -> None:
    order = stage.folder / "order"
    draining = (
        "import signal, sys\n"
        f"def end(*_): open({str(order)!r}, 'a').write(NAME + ' '); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end); print('ready')\n"
        "while True: signal.pause()"
    )
    back = stage.replica("admission-0", f"NAME = 'back'\n{draining}")
    front = stage.replica("gateway-0", f"NAME = 'front'\n{draining}")
    supervisor = stage.supervise([back], [front])
    stage.tend_until(lambda: wrote(back, "ready")() and wrote(front, "ready")())
    supervisor.stop()

    assert order.read_text().split() == ["front", "back"]
    assert stage.database.events == ["stop"]


def test_who_does_not_drain_is_killed_when_the_stop_is_asked_for_again(stage: Stage) -> None:
    replica = stage.replica("gateway-0", IGNORES)
    supervisor = stage.supervise([replica])
    stage.tend_until(wrote(replica, "ready"))
    pid = pid_of(replica)
    assert pid is not None
    stage.interruption.install()
    helper = subprocess.Popen(
        [sys.executable, "-c", f"import os; os.kill({os.getpid()}, {int(signal.SIGINT)})"]
    )
    supervisor.stop()
    helper.wait()

    assert stage.said == ["gateway-0 did not drain in time and is killed"]
    assert is_gone(pid)


def test_a_database_that_ended_is_started_again_and_again(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("local.supervisor.DATABASE_RETRY_SECONDS", 0.01)
    stage.supervise()
    stage.database.running = False
    stage.database.failures = 2
    stage.tend_until(stage.database.is_running)

    assert stage.database.events == ["start", "start", "start"]
    assert stage.said[1] == "Postgres does not start: no disk"
    assert stage.said[-1] == "Postgres is back"


def test_a_log_that_grew_too_long_is_moved_away_under_the_writing_process(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replica_module, "LOG_BYTES_MAX", 1000)
    code = (
        "import signal, sys\n"
        "signal.signal(signal.SIGUSR1, lambda *_: print('later'))\n"
        "print('x' * 2000, 'ready')\n"
        "while True: signal.pause()"
    )
    replica = stage.replica("gateway-0", code)
    stage.supervise([replica])
    old = stage.folder / "gateway-0.log.old"
    stage.tend_until(old.exists)
    replica.signal(signal.SIGUSR1)
    wait_until(wrote(replica, "later"))

    assert old.read_text().startswith("x" * 2000)
    assert len(replica.log.read_bytes()) < 100


def test_processes_end_with_a_killed_supervisor(tmp_path: Path) -> None:
    script = f"""
import time
from pathlib import Path
from local.replica import Replica
replica = Replica(name="r", argv=["-c", {DRAINS!r}], environment={{}}, log=Path("{tmp_path}/log"))
replica.start()
print(replica.identity.pid, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", script], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    alive_before = not is_gone(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: is_gone(pid))

    assert alive_before
