"""`up`: starts the whole system, keeps it running, and stops it in order."""

from __future__ import annotations

import contextlib
import json
import logging
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import psutil
import structlog

from local import databases, endpoints
from local.accounts import make_folder
from local.children import try_lock
from local.config import places, settings_of
from local.credentials import load_or_make
from local.endpoints import Identity, own_identity
from local.errors import LocalError
from local.layout import FRONT, METRICS_DISTANCE, MODULES, Layout, ReplicaPlan, lay_out
from local.ports import BASE_FIRST, Block, claim_block
from local.readiness import is_ready
from local.replica import Replica, spawn_python
from local.summary import describe
from local.supervisor import Interruption, Supervisor, say, show

LOCK_FILE: Final = "supervisor"
PORTS_FILE: Final = "ports"
LOGS: Final = "logs"
SECRETS: Final = "secrets"
# On a busy machine the imports alone take their time.
READY_SECONDS: Final = 90.0
BOOTSTRAP_SECONDS: Final = 60.0
LEFTOVER_SECONDS: Final = 10.0
SUPERVISOR: Final = "supervisor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the user chose."""

    gateways: int = 1
    admissions: int = 1
    healths: int = 1
    state: Path | None = None


def up(options: Options) -> None:
    """Runs the system until a signal to stop. Raises `LocalError`."""
    state = places(options.state).state
    make_folder(state, mode=0o755)
    with _only_supervisor(state) as file:
        if file is None:
            _describe_running(state)
            return
        interruption = Interruption()
        interruption.install()
        # The steps in this process are no servers: only their failures are news.
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
        end_leftovers(state)
        block = _claim_ports(state, options)
        try:
            _run(state, lay_out_of(options, block.base), interruption)
        finally:
            endpoints.remove(state)
            block.close()


def lay_out_of(options: Options, base: int) -> tuple[ReplicaPlan, ...]:
    """The processes that the options ask for."""
    return lay_out(
        base=base,
        gateways=options.gateways,
        admissions=options.admissions,
        healths=options.healths,
    )


def find_supervisor(state: Path) -> Identity | None:
    """The supervisor that runs on the state folder, or None."""
    try:
        pid, start_time = json.loads((state / LOCK_FILE).read_text())
    except (OSError, ValueError):
        return None
    identity = Identity(pid, start_time)
    return identity if identity.process() is not None else None


def end_leftovers(state: Path) -> list[str]:
    """Ends processes that a killed supervisor left; returns their names."""
    found = {
        name: identity
        for name, identity in endpoints.read_identities(state).items()
        if name not in (SUPERVISOR, databases.FOLDER)
    }
    ended = []
    for name, identity in found.items():
        if (process := identity.process()) is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
            ended.append(name)
    for name in ended:
        if not found[name].wait_gone(LEFTOVER_SECONDS):
            raise LocalError(f"{name} (process {found[name].pid}) does not end")
    return ended


def _run(state: Path, plans: tuple[ReplicaPlan, ...], interruption: Interruption) -> None:
    database = databases.choose(state)
    try:
        say("preparing the database")
        admin_url = database.start()
        credentials = load_or_make(state / SECRETS, deployables=MODULES)
        layout = Layout(plans=plans, credentials=credentials, admin_url=admin_url)
        databases.prepare(admin_url, credentials)
    except BaseException:
        database.stop()
        raise
    make_folder(state / LOGS, mode=0o700)
    replicas = {plan.name: _replica(state, layout, plan) for plan in plans}
    back = [replicas[plan.name] for plan in plans if plan.deployable != FRONT]
    front = [replicas[plan.name] for plan in plans if plan.deployable == FRONT]
    supervisor = Supervisor(
        database=database, groups=(back, front), say=say, interruption=interruption
    )
    addresses = {plan.name: plan.address for plan in plans}

    def announce() -> None:
        _announce(state, layout, supervisor, database)

    try:
        say(f"starting {len(plans)} processes")
        for replica in back:
            replica.start()
        _bootstrap(state, layout)
        for replica in front:
            replica.start()
        supervisor.require_start(
            supervisor.replicas, lambda each: is_ready(addresses[each.name]), seconds=READY_SECONDS
        )
        if not interruption.stop_count:
            announce()
            show(describe(state, layout, with_keys=credentials.fresh))
        supervisor.run(announce)
        say("stopping: calls in flight may finish")
    finally:
        supervisor.stop()
    say(f"stopped; the data stay in {state}")


def _replica(state: Path, layout: Layout, plan: ReplicaPlan) -> Replica:
    return Replica(
        name=plan.name,
        argv=["-m", plan.module, "serve"],
        # What the user chose for the server, but not where it is and whom it trusts.
        environment={
            **layout.preferences(plan),
            **settings_of(plan.deployable),
            **layout.environment(plan),
        },
        log=state / LOGS / f"{plan.name}.log",
    )


def _bootstrap(state: Path, layout: Layout) -> None:
    log = state / LOGS / "bootstrap.log"
    with log.open("wb") as output:
        job = spawn_python(
            ["-m", FRONT, "job", "bootstrap"],
            {**settings_of(FRONT), **layout.bootstrap_environment()},
            output,
        )
    try:
        code = job.wait(timeout=BOOTSTRAP_SECONDS)
    except subprocess.TimeoutExpired:
        job.kill()
        code = job.wait()
    if code != 0:
        lines = log.read_text(errors="replace").splitlines()
        raise LocalError(f"cannot store keys and routes ({(lines or ['?'])[-1]}): read {log}")


def _announce(
    state: Path, layout: Layout, supervisor: Supervisor, database: databases.Database
) -> None:
    running = {SUPERVISOR: own_identity()}
    if database.pid is not None and (server := Identity.of(database.pid)) is not None:
        running[databases.FOLDER] = server
    for replica in supervisor.replicas:
        if (identity := replica.identity) is not None:
            running[replica.name] = identity
    endpoints.write(state, layout, running)


def _claim_ports(state: Path, options: Options) -> Block:
    """Claims the ports of the last run, or others if those are taken, and remembers them."""
    file = state / PORTS_FILE
    try:
        remembered = int(file.read_text())
    except (FileNotFoundError, ValueError):
        remembered = None
    plans = lay_out_of(options, 0)
    offsets = [plan.port for plan in plans]
    offsets += [offset + METRICS_DISTANCE for offset in offsets]
    offsets += [plan.http_port for plan in plans if plan.http_port is not None]
    block = claim_block(offsets, remembered=remembered)
    if block.base != (remembered or BASE_FIRST):
        say(f"ports from {remembered or BASE_FIRST} on are in use; taking those from {block.base}")
    file.write_text(f"{block.base}\n")
    return block


@contextmanager
def _only_supervisor(state: Path) -> Iterator[IO[bytes] | None]:
    """Holds the place of the one supervisor of the state folder; None if another has it."""
    try:
        file = (state / LOCK_FILE).open("a+b")
    except OSError as error:
        raise LocalError(
            f"cannot write in {state} ({error.strerror}): set HEADGATE_STATE_DIR"
        ) from error
    with file:
        if not try_lock(file):
            yield None
            return
        own = own_identity()
        file.truncate(0)
        file.write(json.dumps([own.pid, own.start_time]).encode())
        file.flush()
        yield file


def _describe_running(state: Path) -> None:
    content = endpoints.read(state)
    if content is None:
        say("another `make up` is starting here; wait for it, or stop it with `make down`")
        return
    gateways = ", ".join(content["gateways"])
    say(f"already up: the gateway answers at {gateways}; `make down` stops it")
