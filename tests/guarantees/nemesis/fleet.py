"""The whole system as processes under the real supervisor, with proxies on the links that matter.

What `local up` runs, but each process reaches its peers and its database through a proxy of its
own, and may have a wrong wall clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from local import endpoints, up
from local.config import CHECKOUT
from local.layout import FRONT, ReplicaPlan
from local.readiness import is_ready
from tests.guarantees.nemesis.keeper import (
    LINKED,
    POSTGRES,
    START_SECONDS_MAX,
    Plan,
    clock_file,
    link_name,
)
from tests.guarantees.nemesis.proxy import Proxy

CLIENTS: Final = "clients"
STOP_SECONDS_MAX: Final = 90.0
POLL_SECONDS: Final = 0.05


@dataclass(slots=True, kw_only=True)
class Fleet:
    """The running system. Its `endpoints` are what `local up` writes into its file."""

    state: Path
    plans: tuple[ReplicaPlan, ...]
    links: dict[str, Proxy]
    endpoints: dict[str, Any] = field(default_factory=dict)

    @property
    def proxied_gateways(self) -> list[str]:
        """Where clients reach the gateways."""
        return [
            self.links[link_name(CLIENTS, plan.name)].address
            for plan in self.plans
            if plan.deployable == FRONT
        ]

    def pids(self) -> dict[str, int]:
        """Process ids of the replicas and of the database, as they are known now."""
        return {
            name: identity.pid
            for name, identity in endpoints.read_identities(self.state).items()
            if identity.process() is not None
        }

    async def wait_until_ready(self) -> None:
        """Returns when every replica says that it serves."""
        async with asyncio.timeout(START_SECONDS_MAX):
            for plan in self.plans:
                while not await asyncio.to_thread(is_ready, plan.address):  # noqa: ASYNC110
                    await asyncio.sleep(POLL_SECONDS)

    def skew(self, name: str, seconds: float) -> None:
        """Makes a replica's wall clock wrong by so much, from now on."""
        with clock_file(self.state, name).open("r+b") as file:
            file.write(struct.pack("d", seconds))

    def last_words(self) -> str:
        """What every process said last, for a failure's message."""
        tails = [
            f"{path.name}: {line[:400]}"
            for path in sorted((self.state / up.LOGS).glob("*.log"))
            for line in path.read_text(errors="replace").splitlines()[-3:]
        ]
        return "\n".join([*tails, json.dumps(self.pids())])


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How many there are of each."""

    gateways: int = 2
    admissions: int = 2
    healths: int = 1


@contextlib.asynccontextmanager
async def running(
    state: Path,
    shape: Shape = Shape(),
    *,
    seed: int = 0,
    linked: Mapping[str, Sequence[str]] = LINKED,
    settings: Mapping[str, str] | None = None,
) -> AsyncIterator[Fleet]:
    """Starts the fleet and waits until it is ready; ends it at the end, whatever happened.

    `linked`: which deployables reach which peers through proxies. `settings`: more of the servers'
    environment.
    """
    options = up.Options(**asdict(shape))
    block = up._claim_ports(state, options)
    plans = up.lay_out_of(options, block.base)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(block.close)
        links = {
            proxy.name: await stack.enter_async_context(proxy)
            for proxy in _links(plans, seed, linked)
        }
        fleet = Fleet(state=state, plans=plans, links=links)
        plan = Plan(
            state=str(state),
            base_port=block.base,
            **asdict(shape),
            settings=dict(settings or {}),
            links={name: proxy.address for name, proxy in links.items()},
        )
        await stack.enter_async_context(_keeping(fleet, plan))
        yield fleet


@contextlib.asynccontextmanager
async def _keeping(fleet: Fleet, plan: Plan) -> AsyncIterator[None]:
    with (fleet.state / "keeper.log").open("wb") as log:
        keeper = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.guarantees.nemesis.keeper"),
            cwd=CHECKOUT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
        )
    try:
        await _start(fleet, plan, keeper)
        yield
    finally:
        if keeper.returncode is None:
            keeper.terminate()
            async with asyncio.timeout(STOP_SECONDS_MAX):
                await keeper.wait()


async def _start(fleet: Fleet, plan: Plan, keeper: asyncio.subprocess.Process) -> None:
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    keeper.stdin.write(plan.to_line())
    async with asyncio.timeout(START_SECONDS_MAX):
        # What the database's making logs comes first.
        while not (line := await keeper.stdout.readline()).startswith(b"postgresql://"):
            assert line, (fleet.state / "keeper.log").read_text()[-2000:]
        for name, proxy in fleet.links.items():
            if name.endswith(f">{POSTGRES}"):
                proxy.target = urlsplit(line.decode().strip()).netloc.rpartition("@")[2]
        keeper.stdin.write(b"go\n")
        while (content := endpoints.read(fleet.state)) is None:
            assert keeper.returncode is None, (fleet.state / "keeper.log").read_text()[-2000:]
            await asyncio.sleep(POLL_SECONDS)
    fleet.endpoints = content


def _links(
    plans: tuple[ReplicaPlan, ...], seed: int, linked: Mapping[str, Sequence[str]]
) -> list[Proxy]:
    links = [
        Proxy(link_name(CLIENTS, plan.name), target=plan.address, seed=seed)
        for plan in plans
        if plan.deployable == FRONT
    ]
    for plan in plans:
        for peer in linked.get(plan.deployable, ()):
            if peer == POSTGRES:
                links.append(Proxy(link_name(plan.name, POSTGRES), seed=seed))
            links += [
                Proxy(link_name(plan.name, each.name), target=each.address, seed=seed)
                for each in plans
                if each.deployable == peer
            ]
    return links
