"""Fallback texts by the command line."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration.gateway.system import ADMIN_KEY, System
from tests.integration.headgate.commands import Commands
from tests.integration.headgate.real import running_system

pytestmark = pytest.mark.asyncio(loop_scope="module")

SET = ("templates", "set", "sorry")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(postgres_url: str, pytestconfig: pytest.Config) -> AsyncIterator[System]:
    async with running_system(postgres_url, pytestconfig) as running:
        yield running


@pytest.fixture
def command(system: System, monkeypatch: pytest.MonkeyPatch) -> Commands:
    monkeypatch.setenv("HEADGATE_ADMIN_KEY", ADMIN_KEY)
    return Commands(system.addresses["gateway"])


async def test_a_template_is_written_tried_and_restored(command: Commands, tmp_path: Path) -> None:
    file = tmp_path / "de.txt"
    file.write_text("Leider nicht, {{ name }}.\n")
    empty = await command("templates", "list")
    first = await command(*SET, "--locale", "en", "--text", "No, {{ name }}.", "--reason", "trial")
    await command(*SET, "--locale", "de", "--file", str(file))
    tried = await command(
        "templates", "preview", "sorry", "--locale", "de-AT", "--var", "name=Ada"
    )
    missing = await command("templates", "preview", "sorry")
    loose = await command("templates", "preview", "--text", "<{{ name }}", "--html", "--json")
    shown = await command("templates", "show", "sorry")
    await command("templates", "delete", "sorry", "--locale", "de")
    await command("templates", "restore", "sorry", "--revision", "2")
    listed = json.loads((await command("templates", "list", "--json")).out)
    await command("templates", "delete", "sorry", "--reason", "over")
    history = await command("templates", "history", "sorry")

    assert "There are no templates." in empty.out
    assert "trial" in first.out
    assert tried.out == "Leider nicht, Ada.\n"
    assert (missing.out, missing.err) == ("No, .\n", "without a value: name\n")
    assert json.loads(loose.out)["text"] == "<"
    assert "de:" in shown.out
    assert "    Leider nicht, {{ name }}." in shown.out
    (template,) = listed["templates"]
    assert (template["revision"], sorted(template["texts"])) == (4, ["de", "en"])
    assert [line.split()[1] for line in history.out.splitlines()[2:]] == ["5", "4", "3", "2", "1"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ((*SET, "--locale", "en"), 2, "--text, or by --file"),
        ((*SET, "--locale", "en", "--file", "/nowhere"), 2, "cannot read /nowhere"),
        ((*SET, "--locale", "en", "--text", "{% for a in b %}{% endfor %}"), 1, "a loop"),
        ((*SET, "--locale", "e n", "--text", "x"), 1, "template.texts"),
        (("templates", "show", "nothing"), 1, "no such template: nothing"),
        (("templates", "delete", "nothing"), 1, "no such template: nothing"),
        (("templates", "delete", "nothing", "--locale", "de"), 2, "has no text in de"),
        (("templates", "preview", "--text", "x", "--var", "name"), 2, "is not NAME=VALUE"),
    ],
)
async def test_what_is_wrong_is_one_line(
    command: Commands, arguments: tuple[str, ...], code: int, words: str
) -> None:
    refused = await command(*arguments)

    assert (refused.code, words in refused.err) == (code, True), refused.err
    assert refused.err.count("\n") == 1
