"""The system under load: started from nothing in a folder of its own, and removed afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from local import config
from local.accounts import make_folder
from local.readiness import is_ready

READY_SECONDS_MAX: Final = 120.0
STOP_SECONDS_MAX: Final = 60.0
MEBIBYTE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the system answers, and whose keys fit."""

    content: dict[str, Any]
    # What the services show each other.
    service_token: str

    @property
    def gateway(self) -> str:
        """Address of the first gateway."""
        return str(self.content["gateways"][0])

    @property
    def admin_key(self) -> str:
        """An admin's key."""
        return str(self.content["admin_key"])

    def processor_seconds(self) -> dict[str, float]:
        """Processor time of each process so far; "load" is this one."""
        totals = {"load": _processor_seconds(psutil.Process())}
        for name, pid in sorted(self.content["pids"].items()):
            if name != "supervisor":
                totals[name] = processor_seconds(pid, family=name == "postgres")
        return totals

    def resident_mebibytes(self) -> dict[str, float]:
        """Resident memory of each service now."""
        return {
            name: psutil.Process(pid).memory_info().rss / MEBIBYTE
            for name, pid in sorted(self.content["pids"].items())
            if name not in ("supervisor", "postgres")
        }


def processor_seconds(pid: int, *, family: bool = False) -> float:
    """Processor time of a process so far, with that of its children if asked for."""
    process = psutil.Process(pid)
    members = [process, *process.children()] if family else [process]
    return sum(_processor_seconds(each) for each in members)


def _processor_seconds(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


@contextlib.contextmanager
def running_system(
    *options: str, environment: Mapping[str, str] | None = None
) -> Iterator[Endpoints]:
    """Starts the system as `make up` does, with these options, and stops it at the end."""
    scratch = config.places().scratch
    make_folder(scratch, mode=0o755)
    state = Path(tempfile.mkdtemp(prefix="headgate-bench-", dir=scratch))
    state.chmod(0o755)
    with (state / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "local", "up", "--state", str(state), *options],
            cwd=config.CHECKOUT,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield _wait_until_ready(process, state)
    finally:
        process.terminate()
        process.wait(timeout=STOP_SECONDS_MAX)
        shutil.rmtree(state, ignore_errors=True)


def _wait_until_ready(process: subprocess.Popen[bytes], state: Path) -> Endpoints:
    deadline, file = time.monotonic() + READY_SECONDS_MAX, state / "endpoints.json"
    while True:
        if file.exists():
            token = next(state.rglob("service-token")).read_text().strip()
            endpoints = Endpoints(json.loads(file.read_text()), token)
            if is_ready(endpoints.gateway):
                return endpoints
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the system does not start: {(state / 'up.log').read_text()[-500:]}")
        time.sleep(0.05)


@dataclass(frozen=True, slots=True)
class Baseline:
    """A server with fixed answers."""

    address: str
    pid: int


@contextlib.contextmanager
def running_echo(answer: bytes) -> Iterator[str]:
    """Starts the baseline with the answer it gives; yields its address."""
    with _running_baseline(["bench.echo"], answer) as baseline:
        yield baseline.address


@contextlib.contextmanager
def running_doors(mode: str, answer: bytes) -> Iterator[Baseline]:
    """Starts a server of the chassis with ("on") or without ("off") authentication."""
    with _running_baseline(["bench.doors", mode], answer) as baseline:
        yield baseline


@contextlib.contextmanager
def running_fan_out() -> Iterator[str]:
    """Starts a server that sends what comes to all streams; yields its address."""
    with _running_baseline(["bench.fan_out"], b"") as baseline:
        yield baseline.address


@contextlib.contextmanager
def running_provider() -> Iterator[str]:
    """Starts a provider that answers at once; yields its URL."""
    with _running_baseline(["bench.provider"], b"") as baseline:
        yield f"http://{baseline.address}"


@contextlib.contextmanager
def _running_baseline(words: list[str], answer: bytes) -> Iterator[Baseline]:
    process = subprocess.Popen(
        [sys.executable, "-m", *words],
        cwd=config.CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(answer.hex() + "\n")
        process.stdin.flush()
        yield Baseline(f"127.0.0.1:{int(process.stdout.readline())}", process.pid)
    finally:
        process.stdin.close()
        process.wait(timeout=STOP_SECONDS_MAX)
        process.stdout.close()
