"""Runs the command line in this process, and makes calls for it to tell of."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import headgate
from headgate.cli import main
from tests.integration.gateway.system import System


@dataclass(frozen=True, slots=True)
class Result:
    code: int
    out: str
    err: str

    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)

    def rows(self) -> list[list[str]]:
        """Cells of a table, without its head; two blanks part columns."""
        assert self.code == 0, self.err
        lines = [line for line in self.out.splitlines() if line.strip("─ ")]
        return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines[1:]]


class Commands:
    """Runs commands as a person with an admin key does."""

    def __init__(self, target: str) -> None:
        self._target = target

    async def __call__(self, *arguments: str) -> Result:
        # The command has an event loop of its own, so it runs in a thread of its own.
        return await asyncio.to_thread(self._run, arguments)

    def _run(self, arguments: tuple[str, ...]) -> Result:
        out, err, code = io.StringIO(), io.StringIO(), None
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                main.run(("--target", self._target, *arguments))
            except SystemExit as ended:
                code = ended.code
        assert isinstance(code, int)
        return Result(code, out.getvalue(), err.getvalue())


@contextlib.asynccontextmanager
async def caller(system: System, command: Commands, org: str) -> AsyncIterator[headgate.Client]:
    """A client with a new key of the org."""
    created = (await command("keys", "create", f"of {org}", "--org", org, "--json")).json()
    async with headgate.Client(system.addresses["gateway"], api_key=created["secret"]) as client:
        yield client


async def make_call(client: headgate.Client) -> headgate.Receipt:
    async with client.call("summarize", input_tokens=1_000, max_output_tokens=100) as call:
        call.report(input_tokens=900, output_tokens=50)
    assert call.receipt is not None
    return call.receipt
