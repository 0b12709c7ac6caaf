"""The README's commands and the command line, on a system that runs."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

import headgate
from local.demo import stand_in
from tests.e2e.callers import calling, make_call
from tests.e2e.system import CHECKOUT, System, run_command

pytestmark = pytest.mark.asyncio(loop_scope="package")


async def make_key(system: System, org: str) -> tuple[str, str]:
    """Id and secret of a new key of one org."""
    answer = await system.operate("keys", "create", f"test of {org}", "--org", org)
    return str(answer["api_key"]["key_id"]), str(answer["secret"])


async def call_until_refused(client: headgate.Client) -> None:
    # A revocation is in force on every gateway after two seconds; a busy machine may take longer.
    async with asyncio.timeout(30):
        while True:
            await make_call(client)


async def usage(system: System, org: str, *, source: str = "rollup") -> dict[str, Any]:
    answer = await system.operate("usage", "--org", org, "--source", source)
    (row,) = answer["rows"]
    return dict(row)


async def test_the_example_is_answered_and_booked_as_the_provider_bills_it(
    system: System, tmp_path: Path
) -> None:
    _, key = await make_key(system, "e2e-example")
    async with stand_in.running(tmp_path / "bill.jsonl", speed=100) as providers:
        code, output, errors = await run_command(
            *("examples/governed_call.py", "A headgate decides how much water enters."),
            env={
                "HEADGATE_TARGET": system.target,
                "HEADGATE_API_KEY": key,
                "PROVIDERS_URL": providers.url,
                "PYTHONPATH": str(CHECKOUT),
            },
        )

    assert (code, errors) == (0, "")
    assert output.startswith("word")
    (billed,) = (json.loads(line) for line in providers.bill_path.read_text().splitlines())
    booked = await usage(system, "e2e-example")
    assert int(booked["cost_nanos"]) == billed["nanos"]
    assert booked == await usage(system, "e2e-example", source="log")


async def test_a_key_works_until_it_is_revoked(system: System) -> None:
    key_id, key = await make_key(system, "e2e-keys")
    async with headgate.Client(system.target, api_key=key) as client:
        assert (await make_call(client)).admitted

        await system.operate("keys", "revoke", key_id)
        with pytest.raises(headgate.Unauthenticated):
            await call_until_refused(client)


async def test_a_cap_set_by_the_command_line_is_met_exactly_by_two_replicas(
    system: System,
) -> None:
    _, key = await make_key(system, "e2e-capped")
    await system.operate(
        *("limits", "set", "e2e-cap", "--org", "e2e-capped", "--metric", "calls"),
        *("--per", "day", "--cap", "7", "--owner", "finance@example.com"),
    )
    async with headgate.Client(system.target, api_key=key) as client:
        calls = await asyncio.gather(*(make_call(client) for _ in range(40)))

    denials = [call.denial for call in calls if call.denial is not None]
    assert len(calls) - len(denials) == 7
    assert {each.reason for each in denials} == {headgate.DenialReason.RATE_EXCEEDED}
    assert denials[0].violations[0].owner == "finance@example.com"
    assert denials[0].fallback_text == "Not now."
    assert int((await usage(system, "e2e-capped"))["call_count"]) == 7


async def test_after_a_kill_nothing_is_admitted_until_it_is_resumed(system: System) -> None:
    async with system.client("demo-globex") as client, calling(client, callers=16) as record:
        await record.wait_for_receipts(32)
        try:
            await system.operate("kill", "--reason", "a test", "--message", "Paused.", "--yes")
            late = await asyncio.gather(*(make_call(client) for _ in range(64)))
            status = await system.operate("status")
        finally:
            await system.operate("resume", "--reason", "the test is over")
        again = await make_call(client)

    assert not any(call.admitted for call in late)
    assert {call.denial.message for call in late if call.denial} == {"Paused."}
    assert status["state"] == "SERVICE_STATE_STOPPED"
    assert again.admitted
    assert record.errors == []


async def test_every_change_by_the_command_line_is_on_the_audit_log(system: System) -> None:
    await system.operate(
        *("limits", "set", "e2e-audited", "--org", "e2e-audited", "--metric", "cost"),
        *("--per", "month", "--cap", "12.50"),
    )
    await system.operate("limits", "delete", "e2e-audited")

    entries = (await system.operate("audit", "list", "--last", "50"))["entries"]
    ours = [each for each in entries if each["target"] == "limit/e2e-audited"]
    assert [each["action"] for each in ours] == ["DeleteLimit", "PutLimit"]
    assert {each["state"] for each in ours} == {"AUDIT_STATE_DONE"}


async def test_the_example_operations_are_one_command_away(system: System) -> None:
    process = await asyncio.create_subprocess_exec(
        *("make", "-s", "operations", f"ARGS=--state-dir {system.state}"),
        cwd=CHECKOUT,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()

    assert process.returncode == 0, said
    routes = (await system.operate("routes", "list"))["routes"]
    shown = re.findall(r"operation: (\S+)", (CHECKOUT / "examples/operations.yaml").read_text())
    assert len(shown) == 10
    assert set(shown) <= {route["operation"] for route in routes}


async def test_make_up_and_make_demo_are_what_the_readme_says(system: System) -> None:
    readme = (CHECKOUT / "README.md").read_text()
    makefile = (CHECKOUT / "Makefile").read_text()

    # Building is a test of its own, in a fresh clone; here the targets run what runs now.
    for target, module in (("up", "local up"), ("demo", "local.demo")):
        assert re.search(rf"^ +make {target} ", readme, re.MULTILINE)
        assert re.search(
            rf"^{target}:.*\n\t@exec \$\(PYTHON\) -m {module} ", makefile, re.MULTILINE
        )
    assert system.process.returncode is None
