"""The process that runs the fleet under the real supervisor, as `local up` does.

    python -m tests.guarantees.nemesis.keeper

A process of its own, because a fork of one that has gRPC's threads is a matter of luck. Reads its
plan as one line of JSON from stdin; says where the database is as one line on stdout and goes on
when it reads another line: then the proxies in front of the database know their target.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import struct
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from local import databases, up
from local.accounts import make_folder
from local.config import CHECKOUT
from local.credentials import load_or_make
from local.layout import FRONT, MODULES, Layout, ReplicaPlan
from local.postgres import EmbeddedPostgres
from local.readiness import is_ready
from local.replica import Replica
from local.supervisor import Interruption, Supervisor, say_error
from local.tied import PR_SET_PDEATHSIG

POSTGRES: Final = "postgres"
START_SECONDS_MAX: Final = 150.0
SKEW_FOLDER: Final = Path(__file__).parent / "skew"
# deployable -> the peers and the database that it reaches through proxies.
LINKED: Final = {
    "gateway": ("admission", "accounting"),
    "admission": ("accounting", POSTGRES),
    "accounting": (POSTGRES,),
    "health": (),
}


def link_name(here: str, there: str) -> str:
    """What a link is called: `gateway-0>admission-1`."""
    return f"{here}>{there}"


def clock_file(state: Path, name: str) -> Path:
    """Holds how wrong a replica's wall clock is."""
    return state / f"clock-{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the keeper is told."""

    state: str
    base_port: int
    gateways: int
    admissions: int
    healths: int
    # Variables of the servers' environment.
    settings: dict[str, str]
    # Name of a link -> the address of its proxy.
    links: dict[str, str]

    def to_line(self) -> bytes:
        """The plan as the process reads it."""
        return (json.dumps(asdict(self)) + "\n").encode()

    def replicas(self) -> tuple[ReplicaPlan, ...]:
        """The processes to run."""
        options = up.Options(
            gateways=self.gateways, admissions=self.admissions, healths=self.healths
        )
        return up.lay_out_of(options, self.base_port)


def run(plan: Plan, interruption: Interruption) -> None:
    """Runs database and replicas until a signal to stop."""
    state = Path(plan.state)
    database = EmbeddedPostgres(folder=state / databases.FOLDER)
    try:
        admin_url = database.start()
        credentials = load_or_make(state / up.SECRETS, deployables=MODULES)
        databases.prepare(admin_url, credentials)
        layout = Layout(plans=plan.replicas(), credentials=credentials, admin_url=admin_url)
        print(admin_url, flush=True)
        if sys.stdin.readline():
            _supervise(plan, layout, database, interruption)
    finally:
        database.stop()


def _supervise(
    plan: Plan, layout: Layout, database: EmbeddedPostgres, interruption: Interruption
) -> None:
    state = Path(plan.state)
    replicas = {each.name: _replica(plan, layout, each) for each in layout.plans}
    back = [replicas[each.name] for each in layout.plans if each.deployable != FRONT]
    front = [replicas[each.name] for each in layout.plans if each.deployable == FRONT]
    supervisor = Supervisor(
        database=database, groups=(back, front), say=say_error, interruption=interruption
    )
    addresses = {each.name: each.address for each in layout.plans}

    def announce() -> None:
        up._announce(state, layout, supervisor, database)

    try:
        for replica in back:
            replica.start()
        up._bootstrap(state, layout)
        for replica in front:
            replica.start()
        supervisor.require_start(
            supervisor.replicas,
            lambda each: is_ready(addresses[each.name]),
            seconds=START_SECONDS_MAX,
        )
        announce()
        supervisor.run(announce)
    finally:
        supervisor.stop()


def _replica(plan: Plan, layout: Layout, each: ReplicaPlan) -> Replica:
    state = Path(plan.state)
    clock = clock_file(state, each.name)
    clock.write_bytes(struct.pack("d", 0.0))
    environment = {**layout.preferences(each), **layout.environment(each)}
    prefix = f"HEADGATE_{each.deployable.upper()}_"
    environment |= {name: text for name, text in plan.settings.items() if name.startswith(prefix)}
    environment["PYTHONPATH"] = f"{SKEW_FOLDER}{os.pathsep}{CHECKOUT}"
    environment["CLOCK_OFFSET_FILE"] = str(clock)
    return Replica(
        name=each.name,
        argv=["-m", each.module, "serve"],
        environment={**environment, **_rewired(plan, each, environment)},
        log=state / up.LOGS / f"{each.name}.log",
    )


def _rewired(plan: Plan, each: ReplicaPlan, environment: Mapping[str, str]) -> dict[str, str]:
    """The settings that lead a replica through its proxies."""
    prefix = f"HEADGATE_{each.deployable.upper()}_"
    changed = {}
    if (address := plan.links.get(link_name(each.name, POSTGRES))) is not None:
        changed[f"{prefix}DATABASE_URL"] = _with_host(
            environment[f"{prefix}DATABASE_URL"], address
        )
    for peer in MODULES:
        links = [
            plan.links.get(link_name(each.name, other.name))
            for other in plan.replicas()
            if other.deployable == peer
        ]
        if proxied := [address for address in links if address is not None]:
            changed[f"{prefix}{peer.upper()}_ADDRESSES"] = ",".join(proxied)
    return changed


def _with_host(url: str, address: str) -> str:
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{login}@{address}"))


def main() -> None:
    """Runs as the process."""
    if sys.platform == "linux":
        # Whoever started it may be killed.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    interruption = Interruption()
    interruption.install()
    plan = Plan(**json.loads(sys.stdin.readline()))
    make_folder(Path(plan.state) / up.LOGS, mode=0o700)
    run(plan, interruption)


if __name__ == "__main__":
    main()
