"""A provider fails in every way it can: no caller sees an error, and the books agree."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from local.config import CHECKOUT

SHORT_SECONDS_MAX: Final = 300.0
FULL_SECONDS_MAX: Final = 1_800.0


async def play(picture: Path, *options: str, seconds: float) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.outage", "--json", "--picture", str(picture), *options),
        cwd=CHECKOUT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(seconds):
            output, progress = await process.communicate()
    finally:
        if process.returncode is None:
            # It stops its system.
            process.terminate()
            await process.wait()
    print(progress.decode())
    figures: dict[str, Any] = json.loads(output)
    return figures


def check(figures: dict[str, Any]) -> None:
    assert figures["broken"][:5] == []
    # It had something to find.
    assert {"answered gpt-4o-mini", "answered claude-haiku", "fallback"} <= set(figures["seen"])
    assert figures["openings"] >= 2
    assert len(figures["nanos"]) == 2


async def test_no_caller_sees_an_outage(tmp_path: Path) -> None:
    check(await play(tmp_path / "outage.svg", "--short", seconds=SHORT_SECONDS_MAX))
    assert (tmp_path / "outage.svg").read_text().endswith("</svg>\n")


@pytest.mark.slow
async def test_no_caller_sees_a_long_outage(tmp_path: Path) -> None:
    check(await play(tmp_path / "outage.svg", seconds=FULL_SECONDS_MAX))
