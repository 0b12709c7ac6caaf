"""Whatever the document of the HTTP face allows or not is asked; nothing breaks, nothing leaks."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any, Final

import pytest

from tests.integration.gateway.system import ADMIN_KEY, System
from tests.integration.gateway.test_fuzzing import LEAKS

# Seconds of asking; the long run is a slow test.
SHORT: Final = 25
LONG: Final = 600
SCHEMATHESIS: Final = Path(sys.executable).with_name("schemathesis")


async def fuzz(web: str, folder: Path, seconds: int) -> list[dict[str, Any]]:
    """Asks for so long, with a seed of its own; returns what was asked and answered."""
    report = folder / "asked.har"
    process = await asyncio.create_subprocess_exec(
        SCHEMATHESIS,
        "run",
        f"{web}/openapi.json",
        *("--header", f"authorization: Bearer {ADMIN_KEY}"),
        *("--checks", "not_a_server_error"),
        # These never end; and whoever asks for them gets what he asked for.
        *("--exclude-path-regex", ":watch|:bootstrap"),
        *("--max-time", str(seconds), "--request-timeout", "20"),
        *("--max-examples", "20", "--continue-on-failure", "--no-color"),
        *("--suppress-health-check", "all", "--warnings", "off"),
        *("--report-har-path", str(report)),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()[-4_000:]
    entries: list[dict[str, Any]] = json.loads(report.read_text())["log"]["entries"]
    return entries


def check(entries: list[dict[str, Any]]) -> None:
    answers = [entry["response"] for entry in entries]
    for entry, answer in zip(entries, answers, strict=True):
        text = answer["content"].get("text", "")
        where = f"{entry['request']['method']} {entry['request']['url']}"
        assert answer["status"] not in (0, 500), f"{where}: {answer}"
        assert not [leak for leak in LEAKS if leak in text], f"{where}: {text}"
        if answer["status"] >= 400:
            assert answer["content"]["mimeType"] == "application/problem+json", where
    statuses = {answer["status"] for answer in answers}
    assert {200, 400, 404} <= statuses, statuses


async def test_nothing_breaks_and_nothing_leaks(web: str, tmp_path: Path) -> None:
    check(await fuzz(web, tmp_path, SHORT))


@pytest.mark.slow
async def test_nothing_breaks_in_ten_minutes(web: str, system: System, tmp_path: Path) -> None:
    check(await fuzz(web, tmp_path, LONG))
