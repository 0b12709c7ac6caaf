from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx2
import pytest

from headgate.testing import FakeGateway, serve_gateway
from local.config import CHECKOUT
from local.demo.stand_in import StandInProcess
from tests.integration.transports.doors import DOORS, Caller, Door


@pytest.fixture(scope="session")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandInProcess]:
    """One stand-in for all tests of a worker."""
    path = tmp_path_factory.mktemp("stand-in") / "bill.jsonl"
    command = (sys.executable, "-m", "local.demo.provider", "--with-parent", "--speed", "100")
    process = subprocess.Popen(
        (*command, "--bill", str(path)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=CHECKOUT,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    url = f"http://127.0.0.1:{json.loads(process.stdout.readline())['port']}"
    yield StandInProcess(url=url, pid=process.pid, bill_path=path)
    process.stdin.close()
    process.wait(timeout=30)
    process.stdout.close()


@pytest.fixture
async def providers(stand_in: StandInProcess) -> AsyncIterator[StandInProcess]:
    """The stand-in with an empty bill and nobody out."""
    stand_in.bill_path.write_text("")
    yield stand_in
    async with httpx2.AsyncClient() as http:
        state = (await http.get(f"{stand_in.url}/control/state")).json()
    for name in state["out"]:
        await stand_in.set_outage(name, seconds=0)


@pytest.fixture
def door() -> Door:
    """The package that asks; modules replace it."""
    return DOORS[0]


@pytest.fixture
async def gateway(door: Door) -> AsyncIterator[FakeGateway]:
    async with serve_gateway() as fake:
        fake.ledger.routes = {"chat": door.candidates}
        yield fake


@pytest.fixture
async def make_caller(
    door: Door, gateway: FakeGateway, providers: StandInProcess
) -> AsyncIterator[Callable[..., Caller]]:
    made: list[Caller] = []

    def make(*, retries: int = 0, **options: Any) -> Caller:
        made.append(Caller(door, gateway.target, providers, retries=retries, **options))
        return made[-1]

    yield make
    for each in made:
        await each.close()


@pytest.fixture
def caller(make_caller: Callable[..., Caller]) -> Caller:
    return make_caller()
