"""Policies as files, two gateways: whoever is killed, each service has all of a set or nothing."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Final

import asyncpg
import pytest

from tests.e2e.system import CHECKOUT, System
from tests.guarantees.callers import books

COUNT: Final = 40
# The values of a set's members, and how many there are; one query for each transaction.
STATES: Final = {
    "prices": (
        "SELECT DISTINCT meters::text FROM accounting.model_price"
        " WHERE provider = 'whole' AND until_version IS NULL"
    ),
    "limits": "SELECT DISTINCT cap FROM admission.limit_rule WHERE limit_id LIKE 'whole-%'",
    "toggles": "SELECT DISTINCT enabled FROM health.toggle WHERE toggle_id LIKE 'whole-%'",
    "routes": (
        "SELECT DISTINCT hold_seconds FROM gateway.route WHERE operation LIKE 'whole-%'"
        " UNION SELECT DISTINCT (texts ->> 'en')::integer FROM gateway.template_revision AS t"
        " WHERE template_id LIKE 'whole-%' AND revision = ("
        "   SELECT max(revision) FROM gateway.template_revision WHERE template_id = t.template_id)"
    ),
}

pytestmark = pytest.mark.asyncio(loop_scope="package")


def document(number: int) -> str:
    """A set whose members all say one number."""
    lines = ["apiVersion: headgate/v1"]
    sections = {
        "prices": "{{provider: whole, model: m{0}, meters: {{input: {1}, output: 1}}}}",
        "limits": "{{id: whole-{0}, metric: calls, cap: {1}, total: true, scope: {{org: w-{0}}}}}",
        "toggles": "{{id: whole-{0}, enabled: {2}}}",
        "templates": '{{id: whole-{0}, default_locale: en, texts: {{en: "{1}"}}}}',
        "routes": "{{operation: whole-{0}, candidates: [whole/m{0}], hold_seconds: {1}}}",
    }
    for name, member in sections.items():
        lines.append(f"{name}:")
        enabled = "true" if number % 2 else "false"
        lines += [f"  - {member.format(place, number, enabled)}" for place in range(COUNT)]
    return "\n".join(lines)


async def begin(system: System, file: Path) -> asyncio.subprocess.Process:
    """Lets the command line apply a file."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "headgate", "--state-dir", str(system.state)),
        *("apply", "-f", str(file)),
        cwd=CHECKOUT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def states(connection: asyncpg.Connection[asyncpg.Record]) -> dict[str, list[object]]:
    return {
        name: [row[0] for row in await connection.fetch(query)] for name, query in STATES.items()
    }


@pytest.mark.parametrize(("victim", "after"), [("apply", "prices"), ("gateway-0", "limits")])
async def test_a_killed_apply_leaves_each_service_whole_and_is_completed_by_the_next(
    system: System, tmp_path: Path, victim: str, after: str
) -> None:
    (file := tmp_path / "policy.yaml").write_text(document(1))
    first = await begin(system, file)
    assert await first.wait() == 0, (await first.communicate())[1]
    async with books(system) as connection:
        old = await states(connection)
        file.write_text(document(2))
        running = await begin(system, file)
        async with asyncio.timeout(60):
            while [row[0] for row in await connection.fetch(STATES[after])] == old[after]:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)
        if victim == "apply":
            running.kill()
        else:
            pid = system.pids()[victim]
            os.kill(pid, signal.SIGKILL)
            await system.wait_for_successor(victim, pid)
        await running.wait()
        interrupted = await states(connection)
        again = await begin(system, file)
        code = await again.wait()
        new = await states(connection)

    assert all(len(values) == 1 for values in interrupted.values()), interrupted
    assert code == 0, (await again.communicate())[1]
    assert all(len(values) == 1 and values != old[name] for name, values in new.items()), new
