"""Orgs by the command line, against a real gateway."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from headgate.cli.orgs import find_discount
from tests.integration.gateway.system import ADMIN_KEY, System
from tests.integration.headgate.commands import Commands, caller, make_call
from tests.integration.headgate.real import running_system

DAY = dt.timedelta(days=1)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(postgres_url: str, pytestconfig: pytest.Config) -> AsyncIterator[System]:
    async with running_system(postgres_url, pytestconfig) as running:
        yield running


@pytest.fixture
def command(system: System, monkeypatch: pytest.MonkeyPatch) -> Commands:
    monkeypatch.setenv("HEADGATE_ADMIN_KEY", ADMIN_KEY)
    return Commands(system.addresses["gateway"])


async def test_an_org_is_registered_changed_suspended_and_resumed(command: Commands) -> None:
    options = ("--name", "Acme Ltd", "--owner", "Ada", "--contact", "#acme", "--discount", "12.5")
    made = await command("orgs", "set", "acme", "--create", *options)
    kept = await command("orgs", "set", "acme", "--time-zone", "Asia/Tokyo")
    day = ("--metric", "calls", "--cap", "9", "--per", "day")
    limit = await command("limits", "set", "acme-day", "--org", "acme", *day)
    suspended = await command("orgs", "suspend", "acme", "--reason", "unpaid")
    stale = await command("orgs", "resume", "acme", "--reason", "paid", "--expect", "1")
    resumed = await command("orgs", "resume", "acme", "--reason", "paid")
    listed = await command("orgs", "list", "--json")
    wrong = await command("orgs", "set", "acme", "--discount", "100.01")

    row = ["acme", "1", "Acme Ltd", "UTC", "Ada", "#acme", "-", "12.50 %", "active"]
    assert made.rows() == [row]
    assert kept.rows()[0][1:5] == ["2", "Acme Ltd", "Asia/Tokyo", "Ada"]
    assert "Asia/Tokyo" in limit.out
    assert suspended.rows()[0][-1] == "suspended: unpaid"
    assert stale.err.startswith("headgate: ORG_CHANGED: ")
    assert resumed.rows()[0][-1] == "active"
    assert [each["org"] for each in listed.json()["profiles"]] == ["acme"]
    assert (wrong.code, "no percentage" in wrong.err) == (2, True)


async def test_a_bill_is_the_list_price_less_the_discount(
    system: System, command: Commands
) -> None:
    await command("orgs", "set", "billed", "--create", "--discount", "33.33")
    async with caller(system, command, "billed") as client:
        receipt = await make_call(client)
    today = dt.datetime.now(dt.UTC).date()
    days = ("--from", str(today - DAY), "--to", str(today + DAY))
    bill = (await command("orgs", "bill", "billed", *days, "--json")).json()

    listed, discount = int(bill["list_nanos"]), int(bill["discount_nanos"])
    assert listed == receipt.total_nanos
    assert discount == find_discount(listed, 3_333)
    assert listed == int(bill["billed_nanos"]) + discount
