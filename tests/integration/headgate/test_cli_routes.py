"""Routes by the command line, against a real gateway."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import yaml

from tests.integration.gateway.system import ADMIN_KEY, System
from tests.integration.headgate.commands import Commands
from tests.integration.headgate.real import running_system

MODELS = ("--candidate", "openai/gpt-4o-mini=9", "--candidate", "google/gemini-2.5-flash-lite=1")

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(postgres_url: str, pytestconfig: pytest.Config) -> AsyncIterator[System]:
    async with running_system(postgres_url, pytestconfig) as running:
        yield running


@pytest.fixture
def command(system: System, monkeypatch: pytest.MonkeyPatch) -> Commands:
    monkeypatch.setenv("HEADGATE_ADMIN_KEY", ADMIN_KEY)
    return Commands(system.addresses["gateway"])


async def test_routes_are_set_listed_and_deleted(command: Commands) -> None:
    put = await command(
        *("routes", "set", "translate", *MODELS, "--max-output-tokens", "2048"),
        *("--hold-seconds", "60", "--fallback-text", "Later.", "--tag", "eu", "--tag", "text"),
        *("--adaptive-percent", "150", "--baseline", "openai/gpt-4.1-mini"),
        *("--approval-above", "0.5"),
    )
    listed = await command("routes", "list", "--tag", "eu", "--json")
    deleted = await command("routes", "delete", "translate")
    refused = await command("routes", "delete", "translate")

    assert put.rows() == [
        [
            *("translate", "1", "openai/gpt-4o-mini=9, google/gemini-2.5-flash-lite=1"),
            *("2,048", "60", "adaptive 150 %", "above $0.50", "eu, text", "Later."),
        ]
    ]
    (route,) = listed.json()["routes"]
    assert (route["operation"], route["weights"]) == ("translate", [9, 1])
    assert route["baseline_model"] == {"provider": "openai", "model": "gpt-4.1-mini"}
    assert (deleted.code, deleted.out) == (0, "The route of translate is deleted.\n")
    assert refused.code == 1
    assert refused.err.startswith("headgate: OPERATION_NOT_FOUND: ")


async def test_a_route_is_shown_as_a_file_edited_and_set_again_by_one_of_two(
    command: Commands, tmp_path: Path
) -> None:
    await command("routes", "set", "reword", *MODELS, "--adaptive-percent", "130")
    shown = await command("routes", "show", "reword")
    told = yaml.safe_load(shown.out)
    told["routes"][0]["hold_seconds"] = 77
    (file := tmp_path / "routes.yaml").write_text(yaml.safe_dump(told))
    put = await command("routes", "set", "--file", str(file), "--json")
    told["routes"][0]["hold_seconds"] = 78
    file.write_text(yaml.safe_dump(told))
    late = await command("routes", "set", "--file", str(file))

    assert put.json()["route"]["version"] == "2"
    assert put.json()["route"]["hold_seconds"] == 77
    assert late.code == 1
    assert late.err.startswith("headgate: ROUTE_CHANGED: ")


async def test_a_routes_history_is_listed_and_rolled_back(command: Commands) -> None:
    await command("routes", "set", "redraft", "--candidate", "openai/gpt-4o-mini")
    await command("--why", "dearer", "routes", "set", "redraft", *MODELS)
    await command("routes", "delete", "redraft")
    back = await command("routes", "rollback", "redraft", "1", "--expect", "0")
    history = await command("routes", "history", "redraft")
    old = await command("routes", "show", "redraft", "--version", "2", "--json")
    stale = await command("routes", "rollback", "redraft", "2", "--expect", "1")
    unpriced = await command("routes", "set", "redraft", "--candidate", "nobody/model")

    assert back.rows()[0][:3] == ["redraft", "4", "openai/gpt-4o-mini"]
    rows = history.rows()
    assert [(row[0], row[2], row[3], row[5]) for row in rows] == [
        ("4", "admin", "version 1 again", "-"),
        ("3", "admin", "deleted", "-"),
        ("2", "admin", "written", "dearer"),
        ("1", "admin", "written", "-"),
    ]
    assert old.json()["version"]["reason"] == "dearer"
    assert stale.err.startswith("headgate: ROUTE_CHANGED: ")
    assert "route.candidates[0]" in unpriced.err
