"""The JavaScript client: built from the document, and run against a real gateway."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path
from typing import Final

import pytest

from tests.integration.gateway.system import ACME_KEY, ADMIN_KEY

NPM: Final = shutil.which("npm")
ROOT: Final = Path(__file__).parents[3]
PROGRAM: Final = Path(__file__).with_name("js_calls.mjs")


async def run(*command: str | Path, cwd: Path, seconds: float = 300) -> str:
    document = ROOT / "gateway" / "web" / "static" / "openapi.json"
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        env={**os.environ, "OPENAPI": str(document)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(seconds):
        said, wrong = await process.communicate()
    assert process.returncode == 0, f"{command}: {said.decode()} {wrong.decode()}"
    return said.decode()


@pytest.mark.skipif(NPM is None, reason="there is no node with npm on this machine")
async def test_the_client_builds_and_calls_a_gateway(web: str, tmp_path: Path) -> None:
    package = tmp_path / "client"
    shutil.copytree(
        ROOT / "clients" / "js", package, ignore=shutil.ignore_patterns("node_modules", "dist")
    )
    await run("npm", "ci", "--no-audit", "--no-fund", cwd=package)
    await run("npm", "run", "build", cwd=package)
    # As a caller has it: under its name.
    scope = tmp_path / "node_modules" / "@headgate"
    scope.mkdir(parents=True)
    (scope / "client").symlink_to(package)
    shutil.copy(PROGRAM, tmp_path / "calls.mjs")
    said = await run("node", "calls.mjs", web, ADMIN_KEY, ACME_KEY, cwd=tmp_path, seconds=60)

    assert json.loads(said) == {
        "made": "js",
        "admitted": ["admission"],
        "deniedBy": "js",
        "stale": {"status": 412, "reason": "LIMIT_CHANGED"},
        "forbidden": {"status": 403, "reason": "PERMISSION_DENIED"},
        "watched": True,
    }
