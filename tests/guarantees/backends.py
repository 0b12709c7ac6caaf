"""Backends in processes of their own, killed at a step of a call."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from typing import Final

import headgate
from tests.guarantees.callers import OPERATION, Callers, books
from tests.guarantees.nemesis.proxy import Proxy, Trouble, Way

# Requests arrive, answers do not.
MUTE: Final = Trouble(blocked=frozenset({Way.BACK}))

BACKEND: Final = """
import asyncio, sys, headgate

target, key, operation, step = sys.argv[1:]

def tell(word, call):
    print(word, call.call_id, flush=True)
    if word == step:
        sys.stdin.read()

async def main():
    client = headgate.Client(target, api_key=key)
    call = client.call(operation, input_tokens=300, max_output_tokens=700)
    if step == "asking":
        # Connected: what is cut off now is the call.
        await client.status()
        print("asking", call.call_id, flush=True)
        sys.stdin.readline()
    async with call:
        tell("admitted", call)
        tell("sent", call)
        call.report(input_tokens=300, output_tokens=10)
        tell("answered", call)
        if step == "reporting":
            print("reporting", call.call_id, flush=True)
            sys.stdin.readline()
    tell("left", call)

asyncio.run(main())
"""


async def run_until(proxy: Proxy, callers: Callers, step: str) -> str:
    """Runs a backend, kills it at this step without a word, and returns its call's id."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", BACKEND, proxy.address, callers.api_key, OPERATION, step),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(Path(headgate.__file__).parents[1])},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    call_id = ""
    try:
        async with asyncio.timeout(60):
            while step not in (line := (await process.stdout.readline()).decode()):
                assert line, "the backend ended by itself"
            call_id = line.split()[1]
            if step in ("asking", "reporting"):
                # The answer never arrives; that it was given, the books tell.
                proxy.impair(MUTE)
                process.stdin.write(b"\n")
            if step == "asking":
                await wait_for_hold(callers, call_id)
            if step == "reporting":
                await wait_for_log(callers, call_id)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        proxy.heal()
    return call_id


async def wait_for_hold(callers: Callers, call_id: str) -> None:
    await _wait_for_row(callers, "SELECT count(*) FROM reservation WHERE call_id = $1", call_id)


async def wait_for_log(callers: Callers, call_id: str) -> None:
    log = "SELECT count(*) FROM accounting.usage_log WHERE call_id = $1"
    await _wait_for_row(callers, log, call_id)


async def _wait_for_row(callers: Callers, query: str, call_id: str) -> None:
    async with books(callers.system) as connection:
        while not await connection.fetchval(query, call_id):  # noqa: ASYNC110 - it is a database
            await asyncio.sleep(0.02)
