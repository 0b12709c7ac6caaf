"""Runs a program that uses the SDK in a process of its own, as a backend would."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import headgate

_HEAD = "import asyncio, multiprocessing, os, signal, sys, threading\nimport headgate\n"
SECONDS_MAX = 60.0


async def run_program(text: str, *words: str) -> None:
    """Returns when it has ended well, without a word of complaint."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _HEAD + textwrap.dedent(text), *words),
        env={**os.environ, "PYTHONPATH": str(Path(headgate.__file__).parents[1])},
        stderr=subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(SECONDS_MAX):
            _, stderr = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0, stderr.decode()
    assert "Traceback" not in stderr.decode(), stderr.decode()
