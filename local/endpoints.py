"""The file that tells others where the local system answers, and whose keys fit."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from local.layout import HOST, Layout

FILE_NAME: Final = "endpoints.json"
# The kernel's start times are this exact.
START_TIME_TOLERANCE_SECONDS: Final = 0.05
POLL_SECONDS: Final = 0.02


@dataclass(frozen=True, slots=True)
class Identity:
    """A process that cannot be mistaken for a later one with the same id."""

    pid: int
    # Seconds since the epoch.
    start_time: float

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """The process with that id; None if there is none."""
        try:
            return cls(pid, psutil.Process(pid).create_time())
        except psutil.NoSuchProcess:
            return None

    def process(self) -> psutil.Process | None:
        """The process, if it still lives."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.start_time) < START_TIME_TOLERANCE_SECONDS
            lives = process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return process if same and lives else None

    def wait_gone(self, seconds: float) -> bool:
        """Whether the process ended within the time; nobody need have waited for it."""
        deadline = time.monotonic() + seconds
        while self.process() is not None:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True


def write(folder: Path, layout: Layout, running: dict[str, Identity]) -> None:
    """Writes the file for the processes that run now; readers see the old or the new one whole."""
    content = {
        "gateways": layout.addresses("gateway"),
        "admissions": layout.addresses("admission"),
        "accounting": layout.addresses("accounting")[0],
        "health": layout.addresses("health")[0],
        "http": layout.http_urls(),
        "replicas": {plan.name: plan.address for plan in layout.plans},
        "metrics": {plan.name: f"http://{HOST}:{plan.metrics_port}" for plan in layout.plans},
        "database_url": layout.admin_url,
        "api_keys": layout.credentials.api_keys,
        "admin_key": layout.credentials.admin_key,
        "pids": {name: identity.pid for name, identity in running.items()},
        "start_times": {name: identity.start_time for name, identity in running.items()},
    }
    draft = folder / f".{FILE_NAME}"
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(content, indent=2) + "\n")
    draft.replace(folder / FILE_NAME)


def read(folder: Path) -> dict[str, Any] | None:
    """The file's content; None if there is none that can be read."""
    try:
        content: dict[str, Any] = json.loads((folder / FILE_NAME).read_text())
    except (OSError, ValueError):
        return None
    return content


def read_identities(folder: Path) -> dict[str, Identity]:
    """The processes that the file names, alive or not; "supervisor" is one of them."""
    content = read(folder) or {}
    start_times = content.get("start_times", {})
    return {
        name: Identity(pid, start_times[name]) for name, pid in content.get("pids", {}).items()
    }


def remove(folder: Path) -> None:
    """Removes the file: nothing runs any more."""
    (folder / FILE_NAME).unlink(missing_ok=True)


def own_identity() -> Identity:
    """This process."""
    return Identity(os.getpid(), psutil.Process().create_time())
