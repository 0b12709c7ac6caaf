from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest_asyncio

import headgate
from tests.e2e import system as systems
from tests.e2e.callers import make_call
from tests.e2e.system import System


@pytest_asyncio.fixture(scope="package", loop_scope="package")
async def system() -> AsyncIterator[System]:
    """Two gateways and two admissions, shared by the tests that don't stop it."""
    with systems.state_folder() as state:
        async with systems.running(state, gateways=2, admissions=2) as up:
            await up.operate(
                *("prices", "set", "demo-openai/gpt-4o-mini"),
                *("--meter", "input=0.15", "--meter", "cache-read=0.075", "--meter", "output=0.6"),
            )
            await up.operate(
                *("routes", "set", "summarize", "--candidate", "demo-openai/gpt-4o-mini"),
                *("--fallback-text", "Not now."),
            )
            for gateway in up.endpoints["gateways"]:
                async with headgate.Client(
                    gateway, api_key=up.endpoints["api_keys"]["demo-acme"]
                ) as client:
                    await call_until_routed(client)
            yield up


async def call_until_routed(client: headgate.Client) -> None:
    # Each gateway pulls prices every two seconds, and routes more often.
    async with asyncio.timeout(30):
        while (admission := (await make_call(client)).admission) is None or (
            admission.candidate.provider != "demo-openai"
        ):
            pass
