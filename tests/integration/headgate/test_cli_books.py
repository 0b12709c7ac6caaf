"""The command line about prices and books, on a whole system."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from tests.integration.gateway.system import ADMIN_KEY, System
from tests.integration.headgate.commands import Commands, caller, make_call
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


async def test_prices_are_imported_all_or_none(
    system: System, command: Commands, tmp_path: Path
) -> None:
    file = tmp_path / "prices.yaml"
    good = "  - {provider: openai, model: imported, meters: {input: 1, output: 2}}\n"
    file.write_text(f"prices:\n{good}")
    tried = await command("prices", "import", str(file), "--dry-run")
    done = await command("prices", "import", str(file), "--json")
    file.write_text(f"prices:\n{good}  - {{provider: openai, meters: {{input: 1}}}}\n")
    refused = await command("prices", "import", str(file))

    assert tried.out.startswith("1 prices would change, 0 are so already")
    assert done.json()["changed_count"] == 1
    assert "prices[1].model" in refused.err


async def test_usage_is_exported_adjusted_and_priced_again(
    system: System, command: Commands, tmp_path: Path
) -> None:
    async with caller(system, command, "books") as client:
        receipt = await make_call(client)
    today = datetime.now(UTC).date().isoformat()
    days = ("--from", today, "--to", today, "--org", "books")
    output = tmp_path / "usage.csv"
    await command("export", "usage", *days, "--output", str(output))
    ids = (str(receipt.call_id), "--nanos", "-1", "--note", "credit")
    adjusted = (await command("books", "adjust", "books", *ids, "--json")).json()
    dry = (await command("books", "reprice", *days, "--json")).json()
    bill = tmp_path / "bill.csv"
    bill.write_text(f"day,cost,currency\n{today},1,EUR\n")
    refused = await command("books", "reconcile", "openai", str(bill), "--format", "csv")

    assert output.read_text().count("\n") == 2
    assert adjusted["total_nanos"] == str(receipt.total_nanos - 1)
    assert dry["total"]["call_count"] == "0"
    assert "only US dollars" in refused.err
