"""Runs the provider stand-in as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx2

from local.config import CHECKOUT
from local.errors import LocalError

START_SECONDS_MAX: Final = 30.0
STOP_SECONDS_MAX: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StandInProcess:
    """A running stand-in."""

    # Base URL; a provider's own is `{url}/{provider}/v1`.
    url: str
    pid: int
    bill_path: Path

    async def set_outage(self, provider: str, *, seconds: float) -> None:
        """Puts a provider out of service for so long; 0 brings it back."""
        async with httpx2.AsyncClient() as http:
            body = {"provider": provider, "seconds": seconds}
            (await http.post(f"{self.url}/control/outage", json=body)).raise_for_status()

    async def set_trouble(self, provider: str, **trouble: float) -> None:
        """Troubles a provider (provider/troubles.py) until told otherwise; nothing ends it."""
        async with httpx2.AsyncClient() as http:
            body = {"provider": provider, **trouble}
            (await http.post(f"{self.url}/control/trouble", json=body)).raise_for_status()


@contextlib.asynccontextmanager
async def running(
    bill_path: Path, *, seed: int = 0, speed: float = 1.0, error_rate: float = 0.0
) -> AsyncIterator[StandInProcess]:
    """Starts a stand-in on a free port and stops it at the end; it also ends with this process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "local.demo.provider", "--with-parent"),
        *("--bill", str(bill_path), "--seed", str(seed)),
        *("--speed", str(speed), "--error-rate", str(error_rate)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=CHECKOUT,
    )
    try:
        port = await _read_port(process)
        url = f"http://127.0.0.1:{port}"
        yield StandInProcess(url=url, pid=process.pid, bill_path=bill_path)
    finally:
        await _stop(process)


async def _read_port(process: asyncio.subprocess.Process) -> int:
    assert process.stdout is not None
    try:
        async with asyncio.timeout(START_SECONDS_MAX):
            line = await process.stdout.readline()
    except TimeoutError:
        line = b""
    if not line:
        raise LocalError("the provider stand-in did not start; its own message stands above")
    return int(json.loads(line)["port"])


async def _stop(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_SECONDS_MAX):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
