"""The command line about prices and books, on a whole system."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
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


async def test_a_month_is_booked_by_hand_closed_and_shown(command: Commands) -> None:
    before = (datetime.now(UTC) - timedelta(days=34)).date()
    month = f"{before:%Y-%m}"
    what = ("by-hand", "batch", "openai/gpt-4o-mini", "--at", before.isoformat())
    same = (*what, "--note", "ran elsewhere", "--id", str(uuid.uuid4()))
    first = await command("books", "record", *same, "--nanos", "77")
    again = await command("books", "record", *same, "--nanos", "77")
    wrong = await command("books", "record", *what, "--note", "n", "--meter", "input=x")
    closed = await command("books", "close", month)
    twice = await command("books", "close", month)
    listed = await command("books", "statements", "--org", "by-hand")
    shown = await command("books", "statement", month, "--org", "by-hand", "--csv")
    unclosed = await command("books", "statement", "1999-01")

    assert first.out.endswith(" is booked with $0.000000077.\n")
    assert again.out.endswith(" was booked before with $0.000000077.\n")
    assert (wrong.code, "NAME=COUNT" in wrong.err) == (2, True)
    assert closed.out.startswith(f"{month} is closed at ")
    assert twice.out.startswith(f"{month} was closed at ")
    assert listed.rows()[0][:3] == [month, "1", "$0.000000077"]
    assert shown.out.splitlines()[1] == f"{month},by-hand,batch,openai,gpt-4o-mini,1,77"
    assert (unclosed.code, unclosed.err.count("\n")) == (1, 1)


async def test_scores_are_shown_with_what_was_used(system: System, command: Commands) -> None:
    async with caller(system, command, "scored") as client:
        receipt = await make_call(client)
        await client.feedback(str(receipt.call_id), "quality", 0.75)
    used = await command("usage", "--org", "scored", "--by", "model", "--scores")

    assert used.rows()[0][-1] == "0.750 (1)"


async def test_planned_calls_are_priced_from_a_file(command: Commands, tmp_path: Path) -> None:
    plan = tmp_path / "plan.csv"
    plan.write_text(
        "provider,model,call_count,input_token_count,output_token_count\n"
        "openai,gpt-4.1-mini,1000,900,50\nnobody,nothing,5,1,\n"
    )
    answer = (await command("forecast", "calls", str(plan), "--json")).json()
    rows = (await command("forecast", "calls", str(plan))).rows()
    plan.write_text("provider,model,call_count,tokens\n")
    unknown = await command("forecast", "calls", str(plan))
    plan.write_text("provider,model,call_count\nopenai,gpt-4o-mini,many\n")
    wrong = await command("forecast", "calls", str(plan))
    missing = await command("forecast", "calls", str(tmp_path / "none.csv"))

    each = int(answer["costs"][0]["call_nanos"])
    assert each > 0
    assert int(answer["total_nanos"]) == 1_000 * each
    assert [row[0] for row in rows] == ["openai/gpt-4.1-mini", "nobody/nothing", "total"]
    assert rows[1][2] == "no price"
    assert [each.code for each in (unknown, wrong, missing)] == [2, 2, 2]
    assert "'tokens' is not known" in unknown.err
    assert "line 2 has a count that is no integer" in wrong.err


async def test_the_past_is_priced_again_with_progress(system: System, command: Commands) -> None:
    async with caller(system, command, "again") as client:
        await make_call(client)
        await make_call(client)
    today = datetime.now(UTC).date().isoformat()
    days = ("--from", today, "--to", today, "--org", "again")
    dry = await command("books", "reprice", *days)
    version = (await command("books", "reprice", *days, "--json")).json()["version"]
    done = await command("books", "reprice", *days, "--apply", version)
    stale = await command("books", "reprice", *days, "--apply", str(int(version) + 1))
    token = await command("books", "reprice", *days, "--resume", "x")

    assert "100 %, 2 calls looked at, 0 change" in dry.err
    assert f"--apply {version}" in dry.out
    assert done.rows()[-1][:3] == ["total", "2", "0"]
    assert "look at a new dry run" in stale.err
    assert "page_token" in token.err
