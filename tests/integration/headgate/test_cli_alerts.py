"""Alerts and channels from the command line, on the real services."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from tests.integration.accounting.noticing import condition, tell
from tests.integration.accounting.receivers import receiving
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


async def notice(system: System, key: str, org: str = "") -> None:
    connection = await asyncpg.connect(
        system.url, server_settings={"search_path": "accounting", "timezone": "UTC"}
    )
    await tell(connection, condition(key, org=org))
    await connection.close()


async def test_alerts_are_listed_taken_on_and_resolved(command: Commands, system: System) -> None:
    assert "Nothing is wrong." in (await command("alerts", "list", "--org", "nobody")).out
    await notice(system, "cli", org="acme")
    (row,) = (await command("alerts", "list", "--org", "acme")).rows()
    number = row[0]
    assert row[1:6] == ["warning", "open", "kill.lifted", "acme", "kill/platform"]
    taken = (await command("alerts", "ack", number, "--note", "mine")).rows()[0]
    assert taken[2] == "acknowledged"
    ended = (await command("alerts", "resolve", number, "--json")).json()
    assert ended["alert"]["state"] == "ALERT_STATE_RESOLVED"

    history = (await command("alerts", "show", number, "--json")).json()["changes"]
    assert [each["action"].removeprefix("ALERT_ACTION_") for each in history] == [
        "RAISED",
        "ACKNOWLEDGED",
        "RESOLVED",
    ]
    assert "mine" in (await command("alerts", "show", number)).out
    assert (await command("alerts", "list", "--org", "acme", "--all")).rows()[0][0] == number
    event = (await command("alerts", "events", "--type", "kill", "--org", "acme")).rows()[0]
    assert event[1:4] == ["warning", "kill.lifted", "acme"]


async def test_mutes_are_made_listed_and_ended(command: Commands) -> None:
    made = await command("alerts", "mute", "--for", "2h", "--reason", "deploy", "--type", "cost")
    (row,) = made.rows()
    assert (await command("alerts", "mutes")).rows() == [row]
    assert "has ended" in (await command("alerts", "unmute", row[0])).out
    assert "Nothing is muted." in (await command("alerts", "mutes")).out
    wrong = await command("alerts", "mute", "--for", "soon", "--reason", "x")
    assert (wrong.code, "30m" in wrong.err) == (2, True)


async def test_a_channel_is_set_tried_rotated_and_deleted(
    command: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving() as receiver:
        file = tmp_path / "url"
        file.write_text(receiver.url + "\n")
        made = await command(
            *("channels", "set", "oncall", "--kind", "webhook", "--url-file", str(file)),
            *("--type", "cost", "--severity", "warning"),
            *("--quiet", "22:00-07:30", "--time-zone", "Europe/Amsterdam"),
        )
        assert "whsec_" in made.out
        (row,) = (await command("channels", "list")).rows()
        assert row[:3] == ["oncall", "platform", "webhook"]
        assert row[4:7] == ["cost", "warning", "22:00-07:30 Europe/Amsterdam"]
        assert "s3cret" not in made.out
        tried = await command("channels", "test", "oncall")
        assert (tried.code, tried.rows()[0][4]) == (0, "delivered")
        receiver.status = 500
        failed = await command("channels", "test", "oncall")
        assert (failed.code, "answered 500" in failed.out) == (1, True)
        listed = (await command("channels", "deliveries", "--state", "waiting")).rows()
        assert [each[2] for each in listed] == ["oncall"]
        assert "0 start anew" in (await command("channels", "replay", "oncall")).out
        assert "whsec_" in (await command("channels", "rotate", "oncall")).out
        monkeypatch.setattr("sys.stdin", io.StringIO(receiver.url))
        again = await command(
            *("channels", "set", "oncall", "--kind", "webhook", "--url-file", "-", "--paused")
        )
        assert "oncall (paused)" in again.out
        assert "is deleted" in (await command("channels", "delete", "oncall")).out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--quiet", "22-7"), "22:00-07:00"),
        (("--quiet", "22:00-07:99"), "22:00-07:00"),
        (("--url-file", "no/such/file"), "can't read"),
    ],
)
async def test_wrong_use_is_told_before_anything_is_asked(
    command: Commands, arguments: tuple[str, ...], said: str
) -> None:
    wrong = await command("channels", "set", "oncall", "--kind", "webhook", *arguments)

    assert (wrong.code, said in wrong.err) == (2, True)


async def test_a_forecast_of_little_says_so(command: Commands) -> None:
    shown = await command("forecast", "--org", "nobody")
    assert "two days of calls are needed" in shown.out
    assert "Last 24 hours $0.00" in shown.out
    answer = (await command("forecast", "--org", "nobody", "--json")).json()
    assert answer["last_day_nanos"] == "0"


async def test_events_are_shown_as_they_come_and_gone_on_with(
    system: System, command: Commands
) -> None:
    first = asyncio.create_task(command("events", "watch", "--count", "1", "--json"))
    number = 0
    while not first.done():
        number += 1
        await notice(system, f"watched-{number}", org="acme")
        await asyncio.sleep(0.1)
    told = (await first).json()
    token = ("--after", told["resume_token"])
    other = await command("events", "watch", "--type", "Cost", "--count", "1", *token)
    both = await command("events", "watch", "--org", "acme", "--platform")

    assert (told["event"]["type"], told["event"]["org"]) == ("kill.lifted", "acme")
    assert (other.code, "types[0]" in other.err) == (1, True)
    assert both.code == 2
