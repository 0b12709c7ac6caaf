"""A backend that dies by `kill -9` with calls under way, so that nobody ever reports them.

It gets its orders on standard input and kills itself once each of its streams has begun.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import httpx2

import headgate
from local.config import CHECKOUT
from local.demo.client import TappedClient
from local.demo.journal import Journal
from local.demo.provider_client import Prompt, ProviderClient
from local.demo.tally import Tally

OPERATION: Final = "demo-forget"
# It waits at most so long for its streams to begin.
BEGIN_SECONDS_MAX: Final = 10.0
# Long enough that no stream ends before its caller does.
OUTPUT_TOKENS: Final = 4_000
INPUT_TOKENS: Final = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What the backend is to do."""

    target: str
    api_key: str
    provider_url: str
    journal_path: str
    org: str
    call_count: int


async def strand(orders: Orders) -> int:
    """Runs such a backend to its end; returns how it ended, -9 if all went as planned."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "local.demo.orphans"), stdin=asyncio.subprocess.PIPE, cwd=CHECKOUT
    )
    try:
        await process.communicate(json.dumps(asdict(orders)).encode())
        return await process.wait()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()


async def _run(orders: Orders) -> None:
    with Journal(path=Path(orders.journal_path)) as journal:
        client = TappedClient(
            orders.target, api_key=orders.api_key, journal=journal, tally=Tally()
        )
        async with client, httpx2.AsyncClient(timeout=60) as http:
            provider = ProviderClient(http=http, url=orders.provider_url)
            streams: set[asyncio.Task[None]] = set()
            async with asyncio.TaskGroup() as group:
                for _ in range(orders.call_count):
                    group.create_task(_begin(client, provider, orders.org, streams))
            os.kill(os.getpid(), signal.SIGKILL)


async def _begin(
    client: headgate.Client,
    provider: ProviderClient,
    org: str,
    streams: set[asyncio.Task[None]],
) -> None:
    """Returns when a stream has begun, or ended early, or does not begin in time."""
    begun = asyncio.Event()
    stream = asyncio.create_task(_call(client, provider, org, begun))
    streams.add(stream)
    waiting = asyncio.create_task(begun.wait())
    await asyncio.wait(
        {stream, waiting}, timeout=BEGIN_SECONDS_MAX, return_when=asyncio.FIRST_COMPLETED
    )


async def _call(
    client: headgate.Client, provider: ProviderClient, org: str, begun: asyncio.Event
) -> None:
    prompt = Prompt(input_tokens=INPUT_TOKENS, output_tokens=OUTPUT_TOKENS, stream=True)
    async with client.call(
        OPERATION, org=org, input_tokens=INPUT_TOKENS, max_output_tokens=OUTPUT_TOKENS
    ) as call:
        await provider.ask(call, prompt, on_piece=begun.set)


if __name__ == "__main__":
    asyncio.run(_run(Orders(**json.load(sys.stdin))))
