"""The whole system as processes under the real supervisor, with proxies on the links that matter.

What `local up` does, but each process reaches its peers and its database through a proxy of its
own, and may have a wrong wall clock. The supervisor has a thread: on Linux the processes end with
it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import struct
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from local import databases, up
from local.accounts import make_folder
from local.config import CHECKOUT
from local.credentials import Credentials, load_or_make
from local.layout import FRONT, MODULES, Layout, ReplicaPlan
from local.postgres import EmbeddedPostgres
from local.readiness import is_ready
from local.replica import Replica
from local.supervisor import Interruption, Supervisor
from tests.guarantees.nemesis.proxy import Proxy

POSTGRES: Final = "postgres"
CLIENTS: Final = "clients"
START_SECONDS_MAX: Final = 150.0
POLL_SECONDS: Final = 0.05
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


@dataclass(slots=True, kw_only=True)
class Fleet:
    """The running system. Its `endpoints` are what `local up` writes into its file."""

    state: Path
    plans: tuple[ReplicaPlan, ...]
    links: dict[str, Proxy]
    database: EmbeddedPostgres
    endpoints: dict[str, Any] = field(default_factory=dict)
    # What the supervisor said.
    said: list[str] = field(default_factory=list)
    _supervisor: Supervisor | None = None

    def pids(self) -> dict[str, int]:
        """Process ids of the replicas that run now, and of the database."""
        assert self._supervisor is not None
        found = {
            replica.name: identity.pid
            for replica in self._supervisor.replicas
            if (identity := replica.identity) is not None
        }
        if (pid := self.database.pid) is not None:
            found[POSTGRES] = pid
        return found

    async def wait_for_successor(self, name: str, pid: int) -> int:
        """Returns the process id of the replica that runs in place of `pid`."""
        async with asyncio.timeout(START_SECONDS_MAX):
            while (now := self.pids().get(name)) in (None, pid):  # noqa: ASYNC110 - not an event
                await asyncio.sleep(POLL_SECONDS)
        assert now is not None
        return now

    async def wait_until_ready(self) -> None:
        """Returns when every replica says that it serves."""
        async with asyncio.timeout(START_SECONDS_MAX):
            for plan in self.plans:
                while not await asyncio.to_thread(is_ready, plan.address):  # noqa: ASYNC110
                    await asyncio.sleep(POLL_SECONDS)

    def skew(self, name: str, seconds: float) -> None:
        """Makes a replica's wall clock wrong by so much, from now on."""
        with self._clock_file(name).open("r+b") as file:
            file.write(struct.pack("d", seconds))

    def run(
        self, credentials: Credentials, interruption: Interruption, ready: Future[str]
    ) -> None:
        """The supervisor's thread, from the start of the database to its end."""
        try:
            admin_url = self._start_database(credentials)
            layout = Layout(plans=self.plans, credentials=credentials, admin_url=admin_url)
            self._supervise(layout, interruption, ready)
        except BaseException as error:
            ready.set_exception(error)
            raise
        finally:
            self.database.stop()

    def _start_database(self, credentials: Credentials) -> str:
        admin_url = self.database.start()
        databases.prepare(admin_url, credentials)
        for name, proxy in self.links.items():
            if name.endswith(f">{POSTGRES}"):
                proxy.target = urlsplit(admin_url).netloc.rpartition("@")[2]
        return admin_url

    def _supervise(self, layout: Layout, interruption: Interruption, ready: Future[str]) -> None:
        replicas = {plan.name: self._replica(layout, plan) for plan in self.plans}
        back = [replicas[plan.name] for plan in self.plans if plan.deployable != FRONT]
        front = [replicas[plan.name] for plan in self.plans if plan.deployable == FRONT]
        supervisor = self._supervisor = Supervisor(
            database=self.database,
            groups=(back, front),
            say=self.said.append,
            interruption=interruption,
        )
        addresses = {plan.name: plan.address for plan in self.plans}
        try:
            for replica in back:
                replica.start()
            up._bootstrap(self.state, layout)
            for replica in front:
                replica.start()
            supervisor.require_start(
                supervisor.replicas,
                lambda each: is_ready(addresses[each.name]),
                seconds=START_SECONDS_MAX,
            )
            ready.set_result(layout.admin_url)
            supervisor.run(lambda: None)
        finally:
            supervisor.stop()

    def _replica(self, layout: Layout, plan: ReplicaPlan) -> Replica:
        self._clock_file(plan.name).write_bytes(struct.pack("d", 0.0))
        return Replica(
            name=plan.name,
            argv=["-m", plan.module, "serve"],
            environment={**layout.environment(plan), **self._rewired(layout, plan)},
            log=self.state / up.LOGS / f"{plan.name}.log",
        )

    def _rewired(self, layout: Layout, plan: ReplicaPlan) -> dict[str, str]:
        """The settings that lead a replica through its proxies, and to its own wrong clock."""
        prefix = f"HEADGATE_{plan.deployable.upper()}_"
        changed = {
            "PYTHONPATH": f"{SKEW_FOLDER}{os.pathsep}{CHECKOUT}",
            "CLOCK_OFFSET_FILE": str(self._clock_file(plan.name)),
        }
        for peer in LINKED[plan.deployable]:
            if peer == POSTGRES:
                url = layout.environment(plan)[f"{prefix}DATABASE_URL"]
                proxy = self.links[link_name(plan.name, POSTGRES)]
                changed[f"{prefix}DATABASE_URL"] = _with_host(url, proxy.address)
            else:
                changed[f"{prefix}{peer.upper()}_ADDRESSES"] = ",".join(
                    self.links[link_name(plan.name, each.name)].address
                    for each in self.plans
                    if each.deployable == peer
                )
        return changed

    def _clock_file(self, name: str) -> Path:
        return self.state / f"clock-{name}"


@contextlib.asynccontextmanager
async def running(
    state: Path, *, gateways: int = 2, admissions: int = 2, seed: int = 0
) -> AsyncIterator[Fleet]:
    """Starts the fleet and waits until it is ready; ends it at the end, whatever happened."""
    options = up.Options(gateways=gateways, admissions=admissions)
    make_folder(state / up.LOGS, mode=0o700)
    block = up._claim_ports(state, options)
    plans = up.lay_out_of(options, block.base)
    credentials = load_or_make(state / up.SECRETS, deployables=MODULES)
    interruption = Interruption()
    ready: Future[str] = Future()
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(block.close)
        links = {
            proxy.name: await stack.enter_async_context(proxy) for proxy in _links(plans, seed)
        }
        fleet = Fleet(
            state=state,
            plans=plans,
            links=links,
            database=EmbeddedPostgres(folder=state / databases.FOLDER),
        )
        thread = threading.Thread(target=fleet.run, args=(credentials, interruption, ready))
        thread.start()
        stack.push_async_callback(asyncio.to_thread, thread.join)
        stack.callback(_interrupt, interruption)
        admin_url = await asyncio.wrap_future(ready)
        fleet.endpoints = _describe(fleet, credentials, admin_url)
        yield fleet


def _links(plans: tuple[ReplicaPlan, ...], seed: int) -> list[Proxy]:
    links = [
        Proxy(link_name(CLIENTS, plan.name), target=plan.address, seed=seed)
        for plan in plans
        if plan.deployable == FRONT
    ]
    for plan in plans:
        for peer in LINKED[plan.deployable]:
            if peer == POSTGRES:
                links.append(Proxy(link_name(plan.name, POSTGRES), seed=seed))
            links += [
                Proxy(link_name(plan.name, each.name), target=each.address, seed=seed)
                for each in plans
                if each.deployable == peer
            ]
    return links


def _describe(fleet: Fleet, credentials: Credentials, admin_url: str) -> dict[str, Any]:
    fronts = [plan for plan in fleet.plans if plan.deployable == FRONT]
    return {
        # Past the clients' proxies: for whoever prepares and audits.
        "gateways": [plan.address for plan in fronts],
        "proxied_gateways": [
            fleet.links[link_name(CLIENTS, plan.name)].address for plan in fronts
        ],
        "database_url": admin_url,
        "api_keys": credentials.api_keys,
        "admin_key": credentials.admin_key,
    }


def _interrupt(interruption: Interruption) -> None:
    # As a signal to stop would.
    interruption._on_stop(0, None)


def _with_host(url: str, address: str) -> str:
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    return urlunsplit(parts._replace(netloc=f"{login}@{address}"))


def describe(fleet: Fleet) -> str:
    """The last words of every process, for a failure's message."""
    tails = [
        f"{path.name}: {line[:400]}"
        for path in sorted((fleet.state / up.LOGS).glob("*.log"))
        for line in path.read_text(errors="replace").splitlines()[-3:]
    ]
    return "\n".join([*fleet.said[-20:], *tails, json.dumps(fleet.pids())])
