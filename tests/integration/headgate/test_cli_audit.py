"""The audit log by the command line: listed, verified, exported."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from headgate.cli import session
from tests.integration.gateway.system import ADMIN_KEY, System
from tests.integration.headgate.commands import Commands
from tests.integration.headgate.real import running_system

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(postgres_url: str, pytestconfig: pytest.Config) -> AsyncIterator[System]:
    async with running_system(postgres_url, pytestconfig) as running:
        yield running


@pytest.fixture
def command(system: System, monkeypatch: pytest.MonkeyPatch) -> Commands:
    monkeypatch.setenv("HEADGATE_ADMIN_KEY", ADMIN_KEY)
    return Commands(system.addresses["gateway"])


async def test_the_audit_log_tells_who_changed_what(command: Commands) -> None:
    await command("routes", "set", "translate", "--candidate", "openai/gpt-4o-mini")
    await command("routes", "delete", "nonsense")
    shown = await command("audit", "list", "--last", "2", "--requests")
    told = (await command("audit", "list", "--json")).json()

    newest, older = shown.rows()
    assert newest[1:5] == ["admin", "DeleteRoute", "route/nonsense", "failed"]
    assert older[1:5] == ["admin", "PutRoute", "route/translate", "done"]
    assert "gpt-4o-mini" in older[-1]
    assert told["entries"][1]["target"] == "route/translate"


async def test_the_audit_log_is_verified_and_exported(command: Commands, tmp_path: Path) -> None:
    await command("--why", "a test", "routes", "delete", "nonsense")
    whole = await command("audit", "verify")
    file = tmp_path / "audit.jsonl"
    exported = await command("audit", "export", str(file))
    from_file = await command("audit", "verify", "--file", str(file))
    head = whole.out.split()[-1]
    anchored = await command("audit", "verify", "--file", str(file), "--head", head)
    lines = file.read_text().splitlines()
    file.write_text("\n".join(lines[:-1]))
    cut = await command("audit", "verify", "--file", str(file), "--head", head)
    file.write_text(file.read_text().replace("a test", "no test"))
    changed = await command("audit", "verify", "--file", str(file))
    nonsense = await command("audit", "verify", "--head", "xyz")

    assert (whole.code, exported.code, anchored.code) == (0, 0, 0)
    assert from_file.out.split()[-1] == head
    assert (cut.code, changed.code, nonsense.code) == (1, 1, 2)
    assert "the end was cut off" in cut.err
    assert "is not what was written" in changed.err


async def test_a_long_log_is_read_in_pages_and_shows_how_far_it_is(
    command: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_PAGE_SIZE_MAX", 3)
    for _ in range(3):
        await command("routes", "delete", "nonsense")
    whole = await command("audit", "verify")
    file = tmp_path / "audit.jsonl"
    exported = await command("audit", "export", str(file))

    count = len(file.read_text().splitlines())
    assert (whole.code, exported.code) == (0, 0)
    assert f"{count} records" in whole.out
    for shown in (whole.err, exported.err):
        assert shown.split("\r")[1:3] == ["3 records", "6 records"]
        assert shown.endswith(f"\r{count:,} records\n")
