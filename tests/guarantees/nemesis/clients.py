"""The clients' processes: started, killed, replaced, and at last let go."""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from local.config import CHECKOUT
from tests.guarantees.nemesis.client import Plan

CLIENT_COUNT: Final = 3
CALLERS_PER_CLIENT: Final = 4
# The clients' own clocks: one is two days late and one an hour early.
CLOCK_OFFSETS_SECONDS: Final = (0.0, -172_800.0, 3_600.0)
END_SECONDS_MAX: Final = 90.0


class Clients:
    """Client processes of one run; each has a log of its own in the folder."""

    def __init__(
        self, *, folder: Path, seed: int, gateways: list[str], api_key: str, orgs: list[str]
    ) -> None:
        self._folder = folder
        self._seed = seed
        self._gateways = gateways
        self._api_key = api_key
        self._orgs = orgs
        self._chance = random.Random(seed)
        self._processes: list[asyncio.subprocess.Process] = []
        self._count = 0

    async def start(self) -> None:
        """Starts one more."""
        self._count += 1
        name = f"client-{self._count}"
        plan = Plan(
            name=name,
            seed=self._seed,
            gateways=self._gateways,
            api_key=self._api_key,
            orgs=self._orgs,
            log=str(self._folder / f"{name}.jsonl"),
            caller_count=CALLERS_PER_CLIENT,
            clock_offset_seconds=CLOCK_OFFSETS_SECONDS[self._count % len(CLOCK_OFFSETS_SECONDS)],
        )
        with (self._folder / f"{name}.errors").open("wb") as errors:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.guarantees.nemesis.client"),
                cwd=CHECKOUT,
                stdin=asyncio.subprocess.PIPE,
                stdout=errors,
                stderr=errors,
            )
        assert process.stdin is not None
        process.stdin.write(plan.to_line())
        self._processes.append(process)

    async def replace_one(self) -> None:
        """Kills one without a warning and starts another."""
        victim = self._processes.pop(self._chance.randrange(len(self._processes)))
        victim.kill()
        await victim.wait()
        await self.start()

    async def end(self) -> None:
        """Lets all finish what they are at. Raises AssertionError if one failed."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        async with asyncio.timeout(END_SECONDS_MAX):
            codes = [await process.wait() for process in self._processes]
        said = [path.read_text() for path in sorted(self._folder.glob("*.errors"))]
        assert not any(codes), "\n".join(said)[-4000:]

    def kill_all(self) -> None:
        """Leaves none behind."""
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()


@contextlib.asynccontextmanager
async def calling(clients: Clients) -> AsyncIterator[None]:
    """Lets clients call during the block, and lets them finish after it."""
    try:
        for _ in range(CLIENT_COUNT):
            await clients.start()
        yield
        await clients.end()
    finally:
        clients.kill_all()
