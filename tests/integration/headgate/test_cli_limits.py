"""Limits of every kind by the command line, and what it tells of them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio

import headgate
from tests.integration.gateway.system import ADMIN_KEY, System, eventually
from tests.integration.headgate.commands import Commands, caller, make_call
from tests.integration.headgate.real import running_system

pytestmark = pytest.mark.asyncio(loop_scope="module")

SET = ("limits", "set")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(postgres_url: str, pytestconfig: pytest.Config) -> AsyncIterator[System]:
    async with running_system(postgres_url, pytestconfig) as running:
        yield running


@pytest.fixture
def command(system: System, monkeypatch: pytest.MonkeyPatch) -> Commands:
    monkeypatch.setenv("HEADGATE_ADMIN_KEY", ADMIN_KEY)
    return Commands(system.addresses["gateway"])


@pytest.mark.parametrize(
    ("options", "window"),
    [
        (("--metric", "tokens", "--rolling", "1h", "--cap", "5000"), "rolling 1h"),
        (("--metric", "calls", "--refill", "100/1m", "--cap", "20"), "bucket 100 per 1m"),
        (("--metric", "cost", "--total", "--cap", "5"), "total"),
        (("--metric", "concurrency", "--cap", "32"), "at once"),
        (
            ("--metric", "cost", "--per", "week", "--start-day", "sunday", "--cap", "5"),
            "week from day 7 UTC",
        ),
        (
            ("--metric", "cost", "--per", "month", "--start-day", "15", "--cap", "5"),
            "month from day 15 UTC",
        ),
        (
            ("--metric", "cost", "--interval", "2026-05-01/2026-06-01", "--cap", "5"),
            "2026-05-01 00:00:00Z to 2026-06-01 00:00:00Z",
        ),
    ],
)
async def test_every_window_can_be_set(
    command: Commands, options: tuple[str, ...], window: str
) -> None:
    scope = ("--for", "org=*", "--for", "user=*")
    put = await command(*SET, "mine", *options, *scope, "--mode", "shadow")
    deleted = await command("limits", "delete", "mine")

    (row,) = put.rows()
    assert row[1] == "org *, user *"
    assert row[4:6] == [window, "shadow"]
    assert deleted.code == 0


async def test_shares_validity_and_alerts_are_set(command: Commands) -> None:
    put = await command(
        *(*SET, "boost", "--org", "acme", "--metric", "calls", "--per", "day", "--cap", "99"),
        *("--valid-from", "2026-05-01T00:00:00Z", "--valid-until", "2026-06-01"),
        *("--default-share", "80", "--sheddable-share", "50", "--alert-at", "90", "--json"),
    )
    await command("limits", "delete", "boost")

    limit = put.json()["limit"]
    assert limit["shares"] == {"default_percent": 80, "sheddable_percent": 50}
    assert limit["alert_percents"] == [90]
    assert (limit["start_time"], limit["end_time"]) == (
        "2026-05-01T00:00:00Z",
        "2026-06-01T00:00:00Z",
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--metric", "cost", "--cap", "1"), "name one window"),
        (("--metric", "cost", "--cap", "1", "--total", "--per", "day"), "name one window"),
        (("--metric", "cost", "--cap", "nan", "--total"), "--cap"),
        (("--metric", "tokens", "--cap", "-1", "--total"), "--cap"),
        (("--metric", "concurrency", "--cap", "1", "--total"), "no window"),
        (("--metric", "calls", "--cap", "1", "--rolling", "soon"), "no duration"),
        (("--metric", "calls", "--cap", "1", "--refill", "5"), "like 100/1m"),
        (("--metric", "calls", "--cap", "1", "--interval", "2026"), "--interval"),
        (("--metric", "calls", "--cap", "1", "--interval", "x/y"), "no instant"),
        (("--metric", "calls", "--cap", "1", "--per", "day", "--start-day", "mon"), "--start-day"),
        (("--metric", "calls", "--cap", "1", "--total", "--for", "user"), "--for"),
        (("--metric", "calls", "--cap", "1", "--total", "--for", "a=1", "--for", "a=2"), "twice"),
        (("--metric", "calls", "--cap", "1", "--total", "--for", "planet=mars"), "limit.scope"),
    ],
)
async def test_what_makes_no_sense_is_refused_in_one_line(
    command: Commands, options: tuple[str, ...], said: str
) -> None:
    refused = await command(*SET, "mine", *options)

    assert refused.code in (1, 2)
    assert said in refused.err
    assert refused.err.count("\n") == 1


async def test_limits_are_explained_and_what_they_denied_is_listed(
    system: System, command: Commands
) -> None:
    nothing = ("--metric", "calls", "--total", "--cap", "0")
    await command(*SET, "no-bob", *nothing, "--for", "user=bob")
    asked = ("explain", "summarize", "--org", "acme")
    free = await command(*asked)
    stopped = await command(*asked, "--for", "user=bob")
    unknown = await command(*asked, "--for", "planet=mars")
    async with caller(system, command, "acme") as client:
        with pytest.raises(headgate.Denied):
            async with client.call("summarize", input_tokens=5, user="bob"):
                pass

    async def is_recorded() -> bool:
        return bool((await command("limits", "violations", "--limit", "no-bob")).rows())

    await eventually(is_recorded)
    violations = await command("limits", "violations", "--limit", "no-bob", "--json")
    await command("limits", "delete", "no-bob")

    assert "would be admitted" in free.out
    assert "would be denied" in stopped.out
    assert "no-bob" in stopped.out
    assert unknown.code == 2
    (found,) = violations.json()["violations"]
    assert (found["org"], found["call_count"]) == ("acme", "1")


async def test_limits_are_tried_on_the_past(
    system: System, command: Commands, tmp_path: Path
) -> None:
    async with caller(system, command, "acme") as client:
        await make_call(client)
    limits = tmp_path / "limits.json"
    tried = {"limit_id": "none", "metric": "METRIC_CALLS", "total": {}, "cap": 0}
    limits.write_text(json.dumps({"limits": [tried]}))
    now, day = datetime.now(UTC), timedelta(days=1)
    interval = ("--from", (now - day).isoformat(), "--to", (now + day).isoformat())
    simulated = await command("limits", "simulate", str(limits), *interval, "--json")
    told = await command("limits", "simulate", str(limits), *interval)
    limits.write_text((await command("limits", "list", "--json")).out)
    listed = await command("limits", "simulate", str(limits), *interval)
    limits.write_text("{")
    broken = await command("limits", "simulate", str(limits), *interval)

    report = simulated.json()
    # What is in force today would have let it pass.
    assert listed.out.startswith("0 calls would have been denied")
    assert report["denied_count"] == "1"
    assert [each["limit_id"] for each in report["denials"]] == ["none"]
    assert "would have been denied" in told.out
    assert broken.code == 2
