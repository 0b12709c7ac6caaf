"""A real Postgres server without installing one, as any user, root included."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import psutil

from local import accounts, config, postmaster
from local.binaries import Binaries, copy_readable, find_binaries
from local.children import locked, spawn, try_lock
from local.errors import LocalError

HOST: Final = "127.0.0.1"
ADMIN: Final = "postgres"
SETTINGS: Final = {
    "listen_addresses": HOST,
    # TCP alone: no socket file to be left over, or to have too long a path.
    "unix_socket_directories": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
LOCK_WAIT_SECONDS: Final = 120.0
# Recovery after a crash counts too.
READY_WAIT_SECONDS: Final = 120.0
# A crashed server's back ends end within moments; until then no new one can start.
ATTEMPT_COUNT_MAX: Final = 40
ATTEMPT_DELAY_SECONDS: Final = 0.25
POLL_SECONDS: Final = 0.01
LOG_BYTES_MAX: Final = 16 * 1024 * 1024
SCRATCH_PREFIX: Final = "headgate-postgres-"


class EmbeddedPostgres:
    """A server on a data folder of ours, reached by TCP on loopback with a password.

    Started twice on one folder, by whatever processes, it is one server: the second start adopts
    it, and whoever stops first stops it for both. A temporary one has a folder of its own that
    goes with it.
    """

    def __init__(self, *, folder: Path | None = None, temporary: bool = False) -> None:
        self._account = accounts.server_account()
        self._temporary = temporary
        self._places = config.places()
        self._own_lock: IO[bytes] | None = None
        self._folder = folder or (
            self._make_scratch() if temporary else self._places.state / "postgres"
        )
        self._process: psutil.Process | None = None
        self._child: subprocess.Popen[bytes] | None = None
        self._port: int | None = None

    @property
    def url(self) -> str:
        """The superuser's URL of the running server."""
        return f"postgresql://{ADMIN}:{self._password()}@{HOST}:{self._port}/postgres"

    @property
    def pid(self) -> int | None:
        """The server's process id; None before the start and after the stop."""
        return self._process.pid if self._process else None

    @property
    def log_file(self) -> Path:
        """Where the server writes its messages."""
        return self._folder / "postgres.log"

    @property
    def data(self) -> Path:
        """The server's data folder."""
        return self._folder / "data"

    def start(self) -> str:
        """Starts the server, or adopts the one that runs; returns the superuser's URL.

        Call it from the thread that lives as long as the server shall: on Linux the server ends
        with it. Raises `LocalError`.
        """
        accounts.make_folder(self._folder, mode=0o755 if self._account else 0o700)
        accounts.check_reach(self.data, self._account)
        with locked(self._folder / "lock", wait_seconds=LOCK_WAIT_SECONDS):
            if not self._adopt():
                binaries = self._binaries()
                if not (self.data / "PG_VERSION").is_file():
                    self._create(binaries)
                self._launch(binaries)
        return self.url

    def is_running(self) -> bool:
        """Whether the server's process lives."""
        return self._process is not None and postmaster.is_alive(self._process)

    def stop(self) -> None:
        """Stops the server, whoever started it. Open transactions are rolled back."""
        if self._process is not None:
            postmaster.end(self._process, immediately=self._temporary)
            self._process = None
        if self._child is not None:
            self._child.wait()
            self._child = None
        if self._own_lock is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._own_lock.close()
            self._own_lock = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def _adopt(self) -> bool:
        """Takes over a live server; waits for one that is stopping to be gone."""
        deadline = time.monotonic() + READY_WAIT_SECONDS
        while (found := postmaster.find_postmaster(self.data)) is not None:
            if found.ready and found.port and postmaster.takes_connections(found.port):
                self._process, self._port = found.process, found.port
                return True
            if found.stopping and found.port is None:
                postmaster.end(found.process)
            if time.monotonic() > deadline:
                raise LocalError(
                    f"Postgres (process {found.process.pid}) is stuck: read {self.log_file}"
                )
            time.sleep(POLL_SECONDS)
        postmaster.remove_stale_pid_file(self.data)
        return False

    def _binaries(self) -> Binaries:
        version_file = self.data / "PG_VERSION"
        major = int(version_file.read_text()) if version_file.is_file() else None
        binaries = find_binaries(major=major)
        if binaries.bundled and self._account is not None:
            return copy_readable(binaries, self._places.shared)
        return binaries

    def _create(self, binaries: Binaries) -> None:
        """Makes the data folder beside its place, so that an interrupted try leaves none."""
        draft = self._folder / "draft"
        shutil.rmtree(draft, ignore_errors=True)
        accounts.make_folder(draft, mode=0o700, account=self._account)
        password_file = self._folder / "password"
        password_file.unlink(missing_ok=True)
        password_file.touch(mode=0o600)
        password_file.write_text(secrets.token_urlsafe(32))
        # initdb reads the password as the account that it runs as.
        handed = self._folder / "password.initdb"
        shutil.copy(password_file, handed)
        accounts.give(handed, self._account)
        argv: list[str | Path | int] = [binaries.folder / "initdb", "-D", draft, "-U", ADMIN]
        argv.append(f"--pwfile={handed}")
        argv += ["--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--no-instructions"]
        if self._temporary:
            argv.append("--no-sync")
        with self.log_file.open("ab") as log:
            child = self._spawn(argv, log)
            code = child.wait()
        handed.unlink()
        if code != 0:
            raise LocalError(f"initdb failed ({self._last_line()}): read {self.log_file}")
        draft.rename(self.data)

    def _launch(self, binaries: Binaries) -> None:
        if not (self._folder / "password").is_file():
            raise LocalError(
                f"the password of the data in {self._folder} is missing:"
                " restore the file `password` there, or move the folder away"
            )
        self._cut_log()
        for _ in range(ATTEMPT_COUNT_MAX):
            if self._try_launch(binaries):
                return
            time.sleep(ATTEMPT_DELAY_SECONDS)
        raise LocalError(f"Postgres does not start ({self._last_line()}): read {self.log_file}")

    def _try_launch(self, binaries: Binaries) -> bool:
        """Starts the server; False when another try may help."""
        port = self._free_port()
        argv: list[str | Path | int] = [binaries.folder / "postgres", "-D", self.data, "-p", port]
        for name, value in SETTINGS.items():
            argv += ["-c", f"{name}={value}"]
        with self.log_file.open("ab") as log:
            start = log.tell()
            child = self._spawn(argv, log)
        if self._await_ready(child):
            if self._child is not None:
                # The server before this one has ended; nobody has looked at how yet.
                self._child.poll()
            self._child, self._process, self._port = child, psutil.Process(child.pid), port
            (self._folder / "port").write_text(str(port))
            return True
        with self.log_file.open("rb") as file:
            file.seek(start)
            said = file.read()
        # The port was taken meanwhile, or a crashed server's back ends still end.
        if b"Address already in use" in said or b"still in use" in said:
            return False
        raise LocalError(f"Postgres does not start ({self._last_line()}): read {self.log_file}")

    def _await_ready(self, child: subprocess.Popen[bytes]) -> bool:
        """Waits until the server takes connections; False when its process ended."""
        deadline = time.monotonic() + READY_WAIT_SECONDS
        while child.poll() is None:
            found = postmaster.find_postmaster(self.data)
            if found is not None and found.ready and found.process.pid == child.pid:
                return True
            if time.monotonic() > deadline:
                postmaster.end(psutil.Process(child.pid))
                child.wait()
                raise LocalError(f"Postgres does not get ready: read {self.log_file}")
            time.sleep(POLL_SECONDS)
        return False

    def _spawn(self, argv: list[str | Path | int], log: IO[bytes]) -> subprocess.Popen[bytes]:
        return spawn(
            [str(word) for word in argv],
            account=self._account,
            environment={"PATH": config.search_path(), "LC_ALL": "C"},
            output=log,
            death_signal=signal.SIGQUIT if self._temporary else signal.SIGINT,
        )

    def _free_port(self) -> int:
        """The port of the last run if it is free, else any."""
        remembered = 0
        with contextlib.suppress(FileNotFoundError, ValueError):
            remembered = int((self._folder / "port").read_text())
        for port in (remembered, 0):
            with socket.socket() as probe, contextlib.suppress(OSError):
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((HOST, port))
                return int(probe.getsockname()[1])
        raise LocalError(f"no free port on {HOST}")

    def _password(self) -> str:
        return (self._folder / "password").read_text()

    def _cut_log(self) -> None:
        if self.log_file.exists() and self.log_file.stat().st_size > LOG_BYTES_MAX:
            self.log_file.replace(self.log_file.with_suffix(".log.old"))

    def _last_line(self) -> str:
        lines = self.log_file.read_text(errors="replace").splitlines()
        telling = [line for line in lines if "FATAL" in line or "rror" in line] or lines
        return telling[-1].strip() if telling else "no message"

    def _make_scratch(self) -> Path:
        """Makes a folder that lasts as long as its lock; removes those that lost theirs."""
        scratch = self._places.scratch
        accounts.make_folder(scratch, mode=0o755)
        for folder in scratch.glob(f"{SCRATCH_PREFIX}*"):
            _remove_abandoned(folder)
        draft = Path(tempfile.mkdtemp(prefix="headgate-draft-", dir=scratch))
        if self._account is not None:
            draft.chmod(0o755)
        self._own_lock = (draft / "owner").open("ab")
        try_lock(self._own_lock)
        # Others see it only now that it is locked.
        return draft.rename(scratch / f"{SCRATCH_PREFIX}{draft.name.rpartition('-')[2]}")


def _remove_abandoned(folder: Path) -> None:
    """Removes a temporary server's folder if the process that made it is gone."""
    with contextlib.suppress(OSError), (folder / "owner").open("ab") as owner:
        if try_lock(owner):
            if (found := postmaster.find_postmaster(folder / "data")) is not None:
                postmaster.end(found.process, immediately=True)
            shutil.rmtree(folder, ignore_errors=True)
