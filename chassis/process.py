"""The command line and the life of every process: `python -m services.x serve` and its siblings.

    serve          serves until SIGTERM or SIGINT, then drains
    migrate        brings the schema up to this version
    provision      makes the roles and the schema
    job NAME       runs a job once
    check-config   reads the configuration, reports and ends
    doctor         says what is wrong with the installation, and what to do; 1 if anything is

The exit code is 0 after a clean end, 1 after a failure, 2 for a wrong configuration or command.
A failure that has an explanation is one line on stderr.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, NoReturn, TypeVar
from urllib.parse import unquote, urlsplit

import structlog
import uvloop
from pydantic import SecretStr

from chassis import doctor
from chassis.config import ConfigError, Settings, load, split_address, variable
from chassis.database import ConnectError, password_of
from chassis.migrations import MigrationError, migrate, require_migrated
from chassis.provision import ProvisionError, owner_role, provision, runtime_role
from chassis.server import Server
from chassis.telemetry import Telemetry, setup

EXIT_FAILED: Final = 1
EXIT_MISCONFIGURED: Final = 2
# An RPC makes about fifty objects that the collector watches, and nearly all die by themselves.
_GC_THRESHOLDS: Final = (20_000, 20, 20)
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

S = TypeVar("S", bound=Settings)

log = structlog.get_logger()


class JobError(Exception):
    """A job could not do its work. One line that says why; the job may be run again."""


class Process:
    """What a deployable builds its server with."""

    def __init__(self, server: Server, telemetry: Telemetry, stop: asyncio.Event) -> None:
        self.server = server
        self.telemetry = telemetry
        self._stop = stop
        self._tasks: set[asyncio.Task[None]] = set()
        # Whether background work has failed.
        self.failed = False

    def spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Runs background work until the calls in flight have ended; then it is cancelled.

        If it raises, the process drains and ends with exit code 1.
        """
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._on_end)

    async def cancel_spawned(self) -> None:
        """Cancels what still runs and waits until it has ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _on_end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or task.exception() is None:
            return
        log.error("background_work_failed", work=task.get_name(), exc_info=task.exception())
        self.failed = True
        self._stop.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployable(Generic[S]):
    """What one of our processes is made of."""

    # Such as "admission"; the schema's name too.
    name: str
    settings: type[S]
    # Folder of the SQL migrations.
    migrations: Path
    # Builds all, adds servicers to the process's server, yields while it serves, and cleans up
    # after the drain.
    serve: Callable[[S, Process], AbstractAsyncContextManager[None]]
    # A job logs one line with its result, or raises JobError.
    jobs: Mapping[str, Callable[[S], Awaitable[None]]]


def run(deployable: Deployable[S], argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command of `argv`, by default the process's own arguments, and exits."""
    arguments = _parser(deployable).parse_args(argv)
    try:
        settings = load(deployable.settings)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            code = runner.run(_run_command(deployable, settings, arguments))
    except ConfigError as error:
        sys.stderr.write(f"{deployable.name}: {error}\n")
        code = EXIT_MISCONFIGURED
    sys.exit(code)


def _parser(deployable: Deployable[S]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=deployable.name)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="serve until SIGTERM or SIGINT, then drain")
    migrating = commands.add_parser("migrate", help="bring the schema up to this version")
    migrating.add_argument(
        "--pre", action="store_true", help="stop before what servers of the last release need"
    )
    commands.add_parser("provision", help="make the roles and the schema")
    job = commands.add_parser("job", help="run a job once")
    job.add_argument("name", choices=sorted(deployable.jobs))
    commands.add_parser("check-config", help="read the configuration, report and end")
    doctoring = commands.add_parser("doctor", help="say what is wrong, and what to do about it")
    doctoring.add_argument("--json", action="store_true", help="for programs")
    return parser


async def _run_command(
    deployable: Deployable[S], settings: S, arguments: argparse.Namespace
) -> int:
    if arguments.command == "check-config":
        sys.stdout.write(f"the configuration of {deployable.name} is complete\n")
        return 0
    if arguments.command == "doctor":
        return await _examine(deployable, settings, as_json=arguments.json)
    if arguments.command == "serve":
        return await _explain(deployable.name, _serve(deployable, settings))
    # Only a server has a metrics page; its address may be taken by the one that runs beside us.
    quiet = settings.model_copy(update={"metrics_address": None})
    with setup(quiet, deployable.name):
        if arguments.command == "migrate":
            work = _migrate(deployable, settings, pre_only=arguments.pre)
        elif arguments.command == "provision":
            work = _provision(deployable, settings)
        else:
            work = _run_job(deployable, settings, arguments.name)
        return await _explain(deployable.name, _until_signal(work))


async def _examine(deployable: Deployable[S], settings: S, *, as_json: bool) -> int:
    name, migrations = deployable.name, deployable.migrations
    findings = await doctor.examine(settings, name=name, migrations=migrations)
    sys.stdout.write(doctor.render(findings, as_json=as_json))
    return EXIT_FAILED if any(each.is_wrong for each in findings) else 0


async def _explain(name: str, work: Coroutine[Any, Any, int]) -> int:
    """Returns the exit code; whatever fails leaves one line."""
    try:
        return await work
    except (ConnectError, MigrationError, ProvisionError, JobError) as error:
        sys.stderr.write(f"{name}: {error}\n")
    except ConfigError:
        raise
    except Exception as error:
        log.error("crashed", exc_info=error)
    return EXIT_FAILED


async def _until_signal(work: Coroutine[Any, Any, int]) -> int:
    task = asyncio.ensure_future(work)
    _on_signals(task.cancel)
    await asyncio.wait({task})
    if task.cancelled():
        raise JobError("interrupted by a signal; it may be run again")
    return task.result()


def _on_signals(react: Callable[[], object]) -> None:
    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, react)


async def _migrate(deployable: Deployable[S], settings: S, *, pre_only: bool) -> int:
    url = _required(settings, "owner_database_url", "migrate")
    applied = await migrate(
        url, schema=deployable.name, directory=deployable.migrations, pre_only=pre_only
    )
    log.info("schema_is_current", schema=deployable.name, applied=len(applied))
    return 0


async def _provision(deployable: Deployable[S], settings: S) -> int:
    name = deployable.name
    admin_url = _required(settings, "admin_database_url", "provision")
    owner_url = _required(settings, "owner_database_url", "provision")
    _check_user(settings, "owner_database_url", owner_url, owner_role(name))
    _check_user(settings, "database_url", settings.database_url, runtime_role(name))
    await provision(
        admin_url,
        name=name,
        owner_password=password_of(owner_url),
        runtime_password=password_of(settings.database_url),
    )
    return 0


def _required(settings: Settings, field: str, command: str) -> SecretStr:
    url: SecretStr | None = getattr(settings, field)
    if url is None:
        raise ConfigError(f"{variable(type(settings), field)} is not set: `{command}` needs it")
    return url


def _check_user(settings: Settings, field: str, url: SecretStr, role: str) -> None:
    if unquote(urlsplit(url.get_secret_value()).username or "") != role:
        name = variable(type(settings), field)
        raise ConfigError(f"{name}: its user must be {role}, the role that `provision` makes")


async def _run_job(deployable: Deployable[S], settings: S, name: str) -> int:
    structlog.contextvars.bind_contextvars(job=name)
    await deployable.jobs[name](settings)
    return 0


async def _serve(deployable: Deployable[S], settings: S) -> int:
    stop = asyncio.Event()
    # Typed as optional, but a coroutine that runs is always a task's.
    starting: asyncio.Task[Any] = asyncio.current_task()  # type: ignore[assignment]
    _on_signals(starting.cancel)
    try:
        with setup(settings, deployable.name) as telemetry:
            await require_migrated(
                settings.database_url, schema=deployable.name, directory=deployable.migrations
            )
            process = Process(Server(settings, telemetry), telemetry, stop)
            async with deployable.serve(settings, process):
                try:
                    port = await process.server.start()
                    _spare_the_collector()
                    _on_signals(stop.set)
                    # What is here stays: collections on the hot path need not look at it again.
                    gc.collect()
                    gc.freeze()
                    _announce(deployable.name, settings, port, telemetry.metrics_port)
                    await process.server.serve(stop)
                finally:
                    await process.cancel_spawned()
    except asyncio.CancelledError:
        # A signal before it served: there was nothing to drain.
        return 0
    return EXIT_FAILED if process.failed else 0


def _spare_the_collector() -> None:
    """Makes garbage collections rare and short: they cost a seventh of a gateway's time else."""
    gc.collect()
    # What exists by now lives as long as the process: no collection need look at it again.
    gc.freeze()
    gc.set_threshold(*_GC_THRESHOLDS)


def _announce(name: str, settings: Settings, port: int, metrics_port: int | None) -> None:
    """Writes the one line of stdout, for whoever started us and waits."""
    host, _ = split_address(settings.listen_address)
    shown = f"[{host}]" if ":" in host else host
    line = {
        "event": "listening",
        "service": name,
        "address": f"{shown}:{port}",
        "port": port,
        "metrics_port": metrics_port,
    }
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()
