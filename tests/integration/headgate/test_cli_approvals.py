"""Leave for calls, and more budget, by the command line."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from headgate.api.gateway.v1 import gateway_pb2
from tests.integration.gateway.system import ADMIN_KEY, System, new_id
from tests.integration.headgate.commands import Commands
from tests.integration.headgate.real import running_system

CAP = ("--per", "month", "--cap", "250")

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(postgres_url: str, pytestconfig: pytest.Config) -> AsyncIterator[System]:
    async with running_system(postgres_url, pytestconfig) as running:
        yield running


@pytest.fixture
def command(system: System, monkeypatch: pytest.MonkeyPatch) -> Commands:
    monkeypatch.setenv("HEADGATE_ADMIN_KEY", ADMIN_KEY)
    return Commands(system.addresses["gateway"])


async def test_requests_are_listed_shown_approved_and_rejected(
    system: System, command: Commands
) -> None:
    empty = await command("approvals", "list")
    await command(
        *("routes", "set", "pay", "--candidate", "openai/gpt-4o-mini", "--approval"),
        *("--max-output-tokens", "100"),
    )
    ids = []
    for ticket in ("T-1", "T-2"):
        call = gateway_pb2.AdmitCallRequest(
            call_id=new_id(), operation="pay", labels={"ticket": ticket}
        )
        request = gateway_pb2.RequestApprovalRequest(call=call, summary=f"Pay {ticket}.")
        ids.append((await system.backend().RequestApproval(request)).approval.approval_id)
    listed = await command("approvals", "list", "--org", "acme", "--operation", "pay")
    approved = await command("approvals", "approve", ids[0], "--reason", "fine", "--org", "acme")
    rejected = await command("approvals", "reject", ids[1], "--reason", "no")
    again = await command("approvals", "reject", ids[0], "--reason", "no")
    shown = await command("approvals", "show", ids[0])
    history = await command("approvals", "history", "--json")
    nothing = await command("approvals", "list")

    assert empty.out == nothing.out == "Nothing waits for leave.\n"
    assert [(row[0], row[-1]) for row in listed.rows()] == [
        (ids[1], "Pay T-2."),
        (ids[0], "Pay T-1."),
    ]
    assert "is approved: it may be made until" in approved.out
    assert "is rejected." in rejected.out
    assert (again.code, again.err[:25]) == (1, "headgate: APPROVAL_CLOSED")
    facts = {row[0]: row[-1] for row in shown.rows()}
    assert (facts["state"], facts["reason"]) == ("approved", "fine")
    assert "label.ticket T-1" in facts["tells"]
    assert [each["state"] for each in history.json()["approvals"]] == [
        "APPROVAL_STATE_REJECTED",
        "APPROVAL_STATE_APPROVED",
    ]


async def test_more_budget_is_asked_for_listed_approved_and_rejected(
    system: System, command: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    await command(*("limits", "set", "acme-month", "--org", "acme", "--metric", "cost"), *CAP)
    made = await command("keys", "create", "lead", "--role", "editor", "--org", "acme", "--json")
    monkeypatch.setenv("HEADGATE_ADMIN_KEY", made.json()["secret"])
    wish = ("budgets", "ask", "acme-month", "--org", "acme", "--reason", "year end")
    until = ("--until", "2099-01-01T00:00:00Z")
    vague = await command(*wish, *until)
    late = await command(*wish, *until, "--usd", "50")
    soon = f"{dt.datetime.now(dt.UTC) + dt.timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}"
    first = await command(*wish, "--until", soon, "--usd", "50", "--json")
    second = await command(*wish, "--until", soon, "--usd", "60", "--json")
    ids = [each.json()["increase"]["increase_id"] for each in (first, second)]
    monkeypatch.setenv("HEADGATE_ADMIN_KEY", ADMIN_KEY)
    waiting = await command("budgets", "list", "--pending", "--org", "acme")
    approved = await command("budgets", "approve", ids[0], "--reason", "agreed")
    rejected = await command("budgets", "reject", ids[1], "--reason", "not now")
    shown = await command("limits", "list", "--json")

    assert (vague.code, late.code) == (2, 1)
    assert "end_time" in late.err
    assert [(row[0], row[3]) for row in waiting.rows()] == [(ids[1], "$60.00"), (ids[0], "$50.00")]
    assert f"boost-{ids[0]} gives the room until" in approved.out
    assert rejected.out == "The increase of acme-month is rejected.\n"
    caps = {each["limit_id"]: each["cap"] for each in shown.json()["limits"]}
    assert caps[f"boost-{ids[0]}"] == "300000000000"
