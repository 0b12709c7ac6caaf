"""Runs a deployable's real wiring and server inside the test's process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from chassis.config import Settings
from chassis.process import Deployable, Process
from chassis.server import Server
from chassis.telemetry import setup

S = TypeVar("S", bound=Settings)


@asynccontextmanager
async def running(deployable: Deployable[S], settings: S) -> AsyncIterator[str]:
    """Serves; yields the address, and drains at the end."""
    with setup(settings, deployable.name) as telemetry:
        process = Process(Server(settings, telemetry), telemetry, asyncio.Event())
        async with deployable.serve(settings, process):
            try:
                port = await process.server.start()
                yield f"127.0.0.1:{port}"
                await process.server.drain()
            finally:
                await process.cancel_spawned()
