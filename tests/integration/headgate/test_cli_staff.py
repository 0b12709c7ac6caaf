"""The command line for people: the first admin, an invitation, a login, other roles, a logout."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from gateway.jobs.bootstrap import bootstrap
from tests.integration.gateway.people import ADA, EVE, PASSWORD, STAFF_TOKEN
from tests.integration.gateway.system import System, gateway_settings
from tests.integration.headgate.commands import Commands, Result
from tests.integration.headgate.real import running_system

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(postgres_url: str, pytestconfig: pytest.Config) -> AsyncIterator[System]:
    async with running_system(postgres_url, pytestconfig) as running:
        await bootstrap(gateway_settings(running.url, bootstrap_staff_token=STAFF_TOKEN))
        yield running


async def test_people_come_in_and_go(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADGATE_ADMIN_KEY", raising=False)
    command = Commands(system.addresses["gateway"])

    async def answering(*arguments: str, lines: tuple[str, ...]) -> Result:
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        return await command(*arguments)

    first = await answering(
        "staff", "bootstrap", ADA, "--name", "Ada", lines=(STAFF_TOKEN, PASSWORD)
    )
    monkeypatch.setenv("HEADGATE_ADMIN_KEY", first.out.strip())
    invited = await command("staff", "invite", EVE, "--grant", "viewer", "--grant", "editor@acme")
    listed = await command("staff", "list")
    monkeypatch.delenv("HEADGATE_ADMIN_KEY")
    accepted = await answering(
        "staff", "accept", "--name", "Eve", lines=(invited.out.strip(), PASSWORD)
    )
    logged_in = await answering("login", EVE, lines=(PASSWORD,))
    wrong = await answering("login", EVE, lines=("not it at all",))

    assert (accepted.code, wrong.code) == (0, 1)
    assert [row[1:4] for row in listed.rows()] == [[ADA, "Ada", "admin"]]
    assert "the e-mail address or the password is wrong" in wrong.err
    assert PASSWORD not in logged_in.out + logged_in.err

    monkeypatch.setenv("HEADGATE_ADMIN_KEY", logged_in.out.strip())
    routes = await command("routes", "list")
    denied = await command("staff", "list")
    out = await command("logout")
    monkeypatch.setenv("HEADGATE_ADMIN_KEY", first.out.strip())
    everybody = (await command("staff", "list", "--json")).json()["members"]
    eve_id = everybody[0]["staff_id"]
    granted = await command("staff", "grant", eve_id, "--grant", "api-user@acme", "--json")
    disabled = await command("staff", "disable", eve_id, "--json")
    enabled = await command("staff", "enable", eve_id)
    reset = await command("staff", "reset", eve_id)

    assert (routes.code, denied.code, out.code) == (0, 1, 0)
    assert [each["email"] for each in everybody] == [EVE, ADA]
    assert granted.json()["member"]["grants"] == [{"role": "ROLE_BACKEND", "org": "acme"}]
    assert disabled.json()["member"]["disable_time"]
    assert enabled.rows()[0][1:4] == [EVE, "Eve", "backend@acme"]
    assert reset.out.startswith("hgi_")


async def test_a_wrong_role_is_wrong_use(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADGATE_ADMIN_KEY", "hg_any_" + "A" * 43)
    command = Commands(system.addresses["gateway"])
    for role in ("king", "unspecified", "@acme"):
        refused = await command("staff", "invite", EVE, "--grant", role)
        assert refused.code == 2
        assert "api-user, backend, admin, viewer, editor" in refused.err
