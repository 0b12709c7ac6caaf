"""The command line on the real services."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

import headgate
from tests.integration.gateway.system import ACME_KEY, ADMIN_KEY, System, eventually
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


async def test_limits_are_set_listed_and_deleted(command: Commands) -> None:
    wanted = ("limits", "set", "acme-daily", "--metric", "cost", "--per", "day")
    put = await command(*wanted, "--org", "acme", "--cap", "12.50", "--owner", "ann@example.com")
    again = await command(
        *(*wanted, "--org", "acme", "--cap", "$20", "--time-zone", "Europe/Amsterdam", "--json")
    )
    listed = await command("limits", "list", "--json")
    deleted = await command("limits", "delete", "acme-daily")
    left = await command("limits", "list", "--json")

    assert put.rows() == [
        ["acme-daily", "org acme", "cost", "$12.50", "day UTC", "enforce", "ann@example.com"]
    ]
    assert again.json()["limit"]["cap"] == "20000000000"
    (mine,) = (each for each in listed.json()["limits"] if each["limit_id"] == "acme-daily")
    assert mine["calendar"]["time_zone"] == "Europe/Amsterdam"
    assert (deleted.code, deleted.out) == (0, "Limit acme-daily is deleted.\n")
    assert "acme-daily" not in [each["limit_id"] for each in left.json()["limits"]]


async def test_limits_are_the_platforms_each_orgs_or_one_orgs(command: Commands) -> None:
    calls = ("--metric", "calls", "--per", "day", "--time-zone", "Asia/Tokyo", "--cap", "1000")
    platform = await command("limits", "set", "all-calls", *calls, "--json")
    each_org = await command("limits", "set", "org-calls", "--each-org", *calls, "--json")

    assert platform.json()["limit"]["scope"] == {}
    assert each_org.json()["limit"]["scope"] == {"org": "*"}


async def test_a_key_is_rotated(command: Commands) -> None:
    made = ("--org", "acme", "--operation", "summarize", "--days", "30", "--json")
    created = (await command("keys", "create", "turning", *made)).json()["api_key"]
    rotated = await command("keys", "rotate", created["key_id"], "--overlap-hours", "1", "--json")
    viewer = await command("keys", "create", "watching", "--role", "viewer", "--json")

    assert (created["operations"], bool(created["expire_time"])) == (["summarize"], True)
    assert rotated.json()["api_key"]["replaces"] == created["key_id"]
    assert rotated.json()["replaced"]["expire_time"] < created["expire_time"]
    assert viewer.json()["api_key"]["role"] == "ROLE_VIEWER"
    assert any("turning" in row for row in (await command("keys", "list")).rows())


async def test_a_key_is_created_works_and_is_revoked(system: System, command: Commands) -> None:
    created = (await command("keys", "create", "billing", "--org", "acme", "--json")).json()
    key_id, secret = created["api_key"]["key_id"], created["secret"]
    client = headgate.Client(system.addresses["gateway"], api_key=secret)
    async with client, client.call("summarize") as call:
        call.release()
    revoked = await command("keys", "revoke", key_id)
    listed = (await command("keys", "list", "--json")).json()

    assert created["api_key"]["orgs"] == ["acme"]
    (row,) = revoked.rows()
    assert row[:4] == [key_id, "billing", "backend", "acme"]
    assert row[5].endswith("Z")
    assert secret not in json.dumps(listed)
    assert listed["api_keys"][0]["key_id"] == key_id


async def test_an_admin_key_is_shown_once_to_people_too(command: Commands) -> None:
    created = await command("keys", "create", "ann", "--admin")

    assert created.code == 0
    assert "hg_k_" in created.out
    assert "it is not shown again" in created.out
    assert "Keep it now" not in (await command("keys", "list")).out


async def test_prices_are_overridden_and_restored(command: Commands) -> None:
    put = await command(
        *("prices", "set", "openai/gpt-4o-mini", "--org", "acme"),
        *("--meter", "input=0.10", "--meter", "output=0.40"),
    )
    listed = await command("prices", "list", "--provider", "openai")
    deleted = await command("prices", "delete", "openai/gpt-4o-mini", "--org", "acme")

    assert put.rows()[0][:3] == ["openai/gpt-4o-mini", "acme", "input $0.10, output $0.40"]
    assert ["openai/gpt-4o-mini", "acme"] in [row[:2] for row in listed.rows()]
    assert (deleted.code, deleted.out) == (0, "The override of openai/gpt-4o-mini is ended.\n")


async def test_a_kill_stops_calls_until_the_resume(system: System, command: Commands) -> None:
    async def tells_of_the_kill() -> bool:
        told = "Headgate is stopped.\nThe kill switch is in force: runaway (admin)\n"
        return (await command("status")).out.startswith(told)

    async def admits() -> bool:
        async with client.call("summarize", on_denied="return") as call:
            if call.admitted:
                call.release()
        return call.admitted

    async with caller(system, command, "stopped") as client:
        killed = await command("kill", "--reason", "runaway", "--message", "Paused.", "--yes")
        with pytest.raises(headgate.Denied) as denied:
            await make_call(client)
        # A gateway's copy of the switch follows by a stream.
        await eventually(tells_of_the_kill)
        resumed = await command("resume", "--reason", "agent fixed", "--json")
        await eventually(admits)

    assert killed.out == "The kill switch is in force: runaway (admin)\n"
    assert denied.value.decision.reason is headgate.DenialReason.FENCED
    assert resumed.json()["kill"]["state"] == "KILL_STATE_RESUMED"


async def test_usage_counters_and_status_tell_of_a_call(system: System, command: Commands) -> None:
    async with caller(system, command, "once") as client:
        receipt = await make_call(client)
    cost = headgate.format_usd(receipt.total_nanos)
    only = ("usage", "--org", "once")
    today = datetime.now(UTC).date().isoformat()
    usage = await command(*only, "--by", "org", "--by", "model", "--from", today, "--to", today)
    log = (await command(*only, "--source", "log", "--by", "day", "--json")).json()
    none = await command(*only, "--from", "2020-01-01", "--to", "2020-01-31")
    counters = await command("counters", "--org", "once")
    platform = (await command("counters", "--platform", "--json")).json()

    (row,) = usage.rows()
    # Its latency is the machine's.
    assert row[:8] == ["once", "gpt-4o-mini", "1", "0", "0", "900", "0%", "50"]
    assert row[-2:] == [cost, "$0.00"]
    assert log["rows"][0]["cost_nanos"] == str(receipt.total_nanos)
    assert none.out == "Nothing was used from 2020-01-01 to 2020-01-31.\n"
    assert cost in [cell for row in counters.rows() for cell in row]
    assert all(each["scope"] == {} for each in platform["counters"])


async def test_usage_of_several_ends_with_its_total(system: System, command: Commands) -> None:
    async with caller(system, command, "twice") as client:
        receipts = [await make_call(client), await make_call(client)]
        async with client.call("chat", max_output_tokens=10) as call:
            call.report(input_tokens=1, cache_read_tokens=2, output_tokens=3)
    usage = await command("usage", "--org", "twice", "--by", "operation")

    assert call.receipt is not None
    total = headgate.format_usd(sum(each.total_nanos for each in (*receipts, call.receipt)))
    last = usage.rows()[-1]
    assert last[:7] == ["total", "3", "0", "0", "1,803", "0%", "103"]
    assert last[-2:] == [total, "$0.00"]


async def test_the_status_shows_each_providers_breaker(system: System, command: Commands) -> None:
    before = await command("status")
    async with caller(system, command, "failing") as client:
        with pytest.raises(headgate.AllCandidatesFailed):
            await client.run("classify", fail)

    async def shows() -> bool:
        return "google" in (await command("status")).out

    # Observations reach health, and come back by its stream, in their own time.
    await eventually(shows)
    shown = await command("status")
    assert before.code == 0
    assert "Headgate is healthy." in before.out
    assert any(row[:3] == ["google", "closed", "1"] for row in shown.rows())


async def fail(call: headgate.Call) -> None:
    raise ConnectionError(call.provider)


async def test_lists_longer_than_a_page_are_whole(
    command: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headgate.cli.session._PAGE_SIZE_MAX", 1)
    listed = (await command("routes", "list", "--json")).json()

    operations = [each["operation"] for each in listed["routes"]]
    assert operations == sorted({*operations, "chat", "classify", "summarize"})
    assert listed["next_page_token"] == ""


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("hg_admin_" + "Z" * 43, "UNAUTHENTICATED: "),
        (ACME_KEY, "PERMISSION_DENIED: "),
    ],
)
async def test_a_wrong_key_is_refused_in_one_line(
    command: Commands, monkeypatch: pytest.MonkeyPatch, key: str, words: str
) -> None:
    monkeypatch.setenv("HEADGATE_ADMIN_KEY", key)
    result = await command("limits", "list")

    assert (result.code, result.out) == (1, "")
    assert result.err.startswith(f"headgate: {words}")
    assert result.err.count("\n") == 1
    assert key not in result.err


async def test_a_wrong_field_is_named(command: Commands) -> None:
    result = await command(
        *("limits", "set", "Not A Name", "--metric", "calls", "--per", "day", "--cap", "1"),
        *("--time-zone", "Mars/Olympus"),
    )

    assert result.code == 1
    assert "limit.limit_id: " in result.err
    assert "limit.calendar.time_zone: " in result.err


async def test_it_is_a_program_of_its_own(system: System, tmp_path: Path) -> None:
    endpoints = {"gateways": [system.addresses["gateway"]], "admin_key": ADMIN_KEY}
    (tmp_path / "endpoints.json").write_text(json.dumps(endpoints))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "headgate", "--state-dir", str(tmp_path), "status", "--json"),
        env={key: value for key, value in os.environ.items() if "HEADGATE" not in key},
        cwd=Path(headgate.__file__).parents[1],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()

    assert (process.returncode, err) == (0, b"")
    assert json.loads(out)["state"] == "SERVICE_STATE_HEALTHY"
