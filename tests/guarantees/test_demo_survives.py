"""`kill -9` of any part in the middle of the demo: its books still close, to the nano-dollar."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest

from tests.e2e import system as systems
from tests.e2e.system import CHECKOUT, System

DEMO_SECONDS_MAX: Final = 300.0
POLL_SECONDS: Final = 0.05
# Not a process of the supervisor's: one connection's server process.
BACKEND: Final = "backend"
PARTS: Final = ("gateway-0", "admission-0", "accounting-0", "health-0", BACKEND)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningDemo:
    """A demo that plays in a process of its own."""

    process: asyncio.subprocess.Process
    state: Path

    async def wait_for_admissions(self, count: int) -> None:
        """Returns when so many calls have been admitted, by the demo's own record."""
        async with asyncio.timeout(DEMO_SECONDS_MAX):
            while self._count_admissions() < count:  # noqa: ASYNC110 - it is a file
                await asyncio.sleep(POLL_SECONDS)

    async def finish(self) -> dict[str, Any]:
        """Returns the outcome."""
        async with asyncio.timeout(DEMO_SECONDS_MAX):
            output, errors = await self.process.communicate()
        assert output, errors.decode()
        outcome: dict[str, Any] = json.loads(output)
        assert (self.process.returncode == 0) is outcome["reconciled"]
        return outcome

    def _count_admissions(self) -> int:
        assert self.process.returncode is None
        return sum(
            path.read_text().count('"event": "admitted"')
            for path in self.state.glob("demo/*/backends.jsonl")
        )


@contextlib.asynccontextmanager
async def playing(system: System, *options: str) -> AsyncIterator[RunningDemo]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "local.demo", "--state", str(system.state), "--json", *options),
        cwd=CHECKOUT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield RunningDemo(process=process, state=system.state)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def kill(system: System, part: str) -> None:
    """Kills a part; what the supervisor looks after is running again when this returns."""
    if part == BACKEND:
        connection = await asyncpg.connect(system.endpoints["database_url"])
        try:
            pid = await connection.fetchval(
                "SELECT pid FROM pg_stat_activity"
                " WHERE usename = 'headgate_admission' ORDER BY query_start DESC LIMIT 1"
            )
            os.kill(pid, signal.SIGKILL)
        finally:
            # Postgres ends every connection when one of its processes dies.
            connection.terminate()
        return
    pid = system.pids()[part]
    os.kill(pid, signal.SIGKILL)
    await system.wait_for_successor(part, pid)


def check(outcome: dict[str, Any]) -> None:
    assert outcome["failures"] == []
    assert outcome["reconciled"] is True
    calls = {line["ending"]: line["call_count"] for line in outcome["lines"]}
    assert calls["reported"] > 0
    assert calls["cancelled mid-stream"] > 0
    # Those whose callers died, at least.
    assert calls["unreported"] >= 4


async def test_the_demo_reconciles_though_every_part_is_killed_once() -> None:
    with systems.state_folder() as state:
        async with (
            systems.running(state) as system,
            playing(system, "--seconds", "12", "--rate", "12") as demo,
        ):
            for number, part in enumerate(PARTS, start=1):
                await demo.wait_for_admissions(25 * number)
                await kill(system, part)
            outcome = await demo.finish()

    check(outcome)


@pytest.mark.slow
@pytest.mark.parametrize(
    "parts",
    [
        ("gateway-0", "gateway-1"),
        ("admission-0", "admission-1"),
        ("accounting-0",),
        ("health-0",),
        (BACKEND,),
        ("postgres",),
        (*PARTS[:-1], "gateway-1", "admission-1", "postgres"),
    ],
    ids=lambda parts: "+".join(parts) if len(parts) < 3 else "all",
)
async def test_the_demo_reconciles_though_a_part_is_killed_again_and_again(
    parts: Sequence[str],
) -> None:
    with systems.state_folder() as state:
        async with (
            systems.running(state, gateways=2, admissions=2) as system,
            playing(system) as demo,
        ):
            for number in range(1, 5):
                await demo.wait_for_admissions(60 * number)
                await asyncio.gather(*(kill(system, part) for part in parts))
            outcome = await demo.finish()

    check(outcome)
