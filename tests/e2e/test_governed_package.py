"""The README's first program, run as it stands, on a system that runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

import headgate
from local.demo import stand_in
from local.demo.stand_in import StandInProcess
from tests.e2e.system import CHECKOUT, System, run_command

pytestmark = pytest.mark.asyncio(loop_scope="package")

ORG = "e2e-package"
QUESTION = "How does a headgate decide how much water enters the canal?"


@dataclass(frozen=True, slots=True)
class Program:
    """The example, in the name of an org of its own."""

    system: System
    key: str
    providers: StandInProcess

    async def run(self) -> str:
        code, output, errors = await run_command(
            *("examples/governed_openai.py", QUESTION),
            env={
                "HEADGATE_TARGET": self.system.target,
                "HEADGATE_API_KEY": self.key,
                "PROVIDERS_URL": self.providers.url,
                "PYTHONPATH": str(CHECKOUT),
            },
        )
        assert (code, errors) == (0, "")
        return output

    def bill(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.providers.bill_path.read_text().splitlines()]


@pytest_asyncio.fixture(loop_scope="package")
async def program(system: System, tmp_path: Path) -> AsyncIterator[Program]:
    key = await system.operate("keys", "create", "test of a package", "--org", ORG)
    await system.operate(
        *("prices", "set", "demo-anthropic/claude-haiku"),
        *("--meter", "input=0.8", "--meter", "cache-read=0.08", "--meter", "output=4"),
    )
    await system.operate(
        *("routes", "set", "chat", "--candidate", "demo-openai/gpt-4o-mini"),
        *("--candidate", "demo-anthropic/claude-haiku", "--fallback-text", "Not now."),
    )
    async with stand_in.running(tmp_path / "bill.jsonl", speed=100) as providers:
        await wait_until_routed(system, str(key["secret"]))
        yield Program(system, str(key["secret"]), providers)


async def wait_until_routed(system: System, key: str) -> None:
    """Returns when each gateway knows both candidates; what is asked meanwhile is released."""
    second = headgate.Candidate("demo-openai", "gpt-4o-mini")
    for gateway in system.endpoints["gateways"]:
        async with headgate.Client(gateway, api_key=key) as client, asyncio.timeout(30):
            while True:
                call = client.call("chat", exclude=[second], on_denied="return")
                async with call:
                    if call.admitted:
                        call.release()
                        if call.provider == "demo-anthropic":
                            break


async def test_the_program_streams_through_an_outage_and_is_booked_as_billed(
    system: System, program: Program
) -> None:
    before = await program.run()
    await program.providers.set_outage("demo-openai", seconds=60)
    during = await program.run()
    await program.providers.set_outage("demo-anthropic", seconds=60)
    without = await program.run()
    for provider in ("demo-openai", "demo-anthropic"):
        await program.providers.set_outage(provider, seconds=0)
    after = await program.run()

    bill = program.bill()
    assert all(output.startswith("word") for output in (before, during, after))
    assert without == "Not now.\n"
    assert [line["provider"] for line in bill] == ["demo-openai", "demo-anthropic", "demo-openai"]
    (row,) = (await system.operate("usage", "--org", ORG))["rows"]
    assert int(row["cost_nanos"]) == sum(int(str(line["nanos"])) for line in bill)
    assert int(row["meters"]["output_token_count"]) + int(
        row["meters"].get("reasoning_token_count", 0)
    ) == sum(int(str(line["completion_tokens"])) for line in bill)
