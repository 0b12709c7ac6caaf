"""Staff come in by an OpenID provider: with its groups' roles, and by nothing that it lied of."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest_asyncio

from gateway.staff.oidc import provider as providers
from headgate.api.gateway.v1 import admin_pb2
from tests.integration.gateway.people import ADA, Nobody, first_admin, pb, people
from tests.integration.gateway.provider import (
    CLIENT_ID,
    CLIENT_SECRET,
    Provider,
    new_key,
    provider_running,
)
from tests.integration.gateway.system import System, refusal

CALLBACK: Final = "http://127.0.0.1:9/callback"
PAGE: Final = "https://headgate.example.com/oidc/callback"
ROLES: Final = "platform=admin,acme-leads=editor@acme,acme-all=viewer@acme"
BOB: Final = {
    "sub": "bob-1",
    "email": "Bob@example.com",
    "email_verified": True,
    "name": "Bob",
    "groups": ["acme-all", "acme-leads", "others"],
}


@pytest_asyncio.fixture
async def provider() -> AsyncIterator[Provider]:
    async with provider_running() as running:
        running.person = dict(BOB)
        yield running


@pytest_asyncio.fixture
async def door(system: System, provider: Provider) -> Nobody:
    """A gateway that lets people in by the provider."""
    await system.start(
        "oidc",
        oidc_issuer=provider.issuer,
        oidc_client_id=CLIENT_ID,
        oidc_client_secret=CLIENT_SECRET,
        oidc_redirect_uris=PAGE,
        oidc_roles=ROLES,
    )
    return Nobody(system, at="oidc")


async def begin(door: Nobody, uri: str = CALLBACK) -> tuple[Any, dict[str, str]]:
    """Begins, and goes through the provider's page; returns what it sent back."""
    begun = await door.BeginOidcLogin(pb.BeginOidcLoginRequest(redirect_uri=uri))
    async with httpx2.AsyncClient() as browser:
        page = await browser.get(begun.authorization_url)
    query = parse_qs(urlsplit(page.headers["location"]).query)
    return begun, {name: values[0] for name, values in query.items()}


def finish(door: Nobody, begun: Any, answer: dict[str, str]) -> Any:
    return door.FinishOidcLogin(
        pb.FinishOidcLoginRequest(
            login_secret=begun.login_secret, state=answer["state"], code=answer["code"]
        )
    )


async def log_in(door: Nobody) -> Any:
    return await finish(door, *await begin(door))


async def test_groups_give_roles_at_each_login_and_who_has_none_stays_out(
    system: System, door: Nobody, provider: Provider
) -> None:
    first = await log_in(door)
    token = first.session.token
    session = await people(system, token, at="oidc").GetSession(pb.GetSessionRequest())
    usage = admin_pb2.ListCountersRequest(org="acme")
    await system.staff(token).ListCounters(usage)
    elsewhere = await refusal(system.staff(token).ListCounters(admin_pb2.ListCountersRequest()))

    assert [(each.org, each.role) for each in first.member.grants] == [
        ("acme", admin_pb2.ROLE_EDITOR)
    ]
    assert session.member.email == "bob@example.com"
    assert elsewhere.code == "PERMISSION_DENIED"

    # Told outside of the token as well; and the account stays the same.
    provider.in_token, provider.person = False, {**BOB, "groups": ["platform"]}
    second = await log_in(door)
    assert second.member.staff_id == first.member.staff_id
    assert [each.org for each in second.member.grants] == [""]

    await people(system, second.session.token, at="oidc").Logout(pb.LogoutRequest())
    provider.person = {**BOB, "groups": ["nobody-here"]}
    assert (await refusal(finish(door, *await begin(door)))).code == "PERMISSION_DENIED"
    await asyncio.sleep(1.0)
    for gone in (token, second.session.token):
        found = await refusal(people(system, gone).GetSession(pb.GetSessionRequest()))
        assert found.code == "UNAUTHENTICATED"
    provider.person = {**BOB, "sub": "eve-1", "email": "eve@example.com", "groups": []}
    assert (await refusal(finish(door, *await begin(door)))).code == "PERMISSION_DENIED"
    assert await system.fetch("gateway", "SELECT 1 FROM staff WHERE email LIKE 'eve%'") == []


async def test_a_token_that_says_anything_wrong_lets_nobody_in(
    system: System, door: Nobody, provider: Provider
) -> None:
    now = int(time.time())
    foreign = new_key()
    lies: list[dict[str, Any]] = [
        {"lies": {"aud": "another"}},
        {"lies": {"aud": [CLIENT_ID, "another"]}},
        {"lies": {"iss": "http://127.0.0.1:1"}},
        {"lies": {"exp": now - 120}},
        {"lies": {"iat": now + 600}},
        {"lies": {"nonce": "of-another-login"}},
        {"lies": {"sub": ""}},
        {"lies": {"email_verified": False, "sub": "new"}},
        {"headers": {"alg": "none"}},
        {"headers": {"alg": "RS256", "kid": "unknown"}},
        {"signing_key": foreign, "headers": {"alg": "RS256", "kid": provider.signing_key.kid}},
    ]
    for lie in lies:
        before = {name: getattr(provider, name) for name in lie}
        for name, value in lie.items():
            setattr(provider, name, value)
        found = await refusal(finish(door, *await begin(door)))
        assert (found.code, found.reason) == ("UNAUTHENTICATED", "LOGIN_FAILED"), lie
        for name, value in before.items():
            setattr(provider, name, value)
    assert await system.fetch("gateway", "SELECT 1 FROM staff_session") == []
    assert await system.fetch("gateway", "SELECT 1 FROM oidc_login") == []


async def test_a_login_is_finished_once_by_who_began_it_and_leads_nowhere_else(
    system: System, door: Nobody, provider: Provider
) -> None:
    for uri in (
        "https://evil.example.com/callback",
        PAGE + "/../x",
        PAGE + "@evil.example.com",
        "http://127.0.0.1.evil.example.com:80/callback",
        "http://127.0.0.1:99999/callback",
        "http://127.0.0.1:80@evil.example.com/",
        "javascript:alert(1)",
        "",
    ):
        asked = pb.BeginOidcLoginRequest(redirect_uri=uri)
        assert (await refusal(door.BeginOidcLogin(asked))).reason == "INVALID_ARGUMENT", uri
    begun, answer = await begin(door, PAGE)
    others, other_answer = await begin(door)
    mixed = await refusal(finish(door, others, {**other_answer, "state": answer["state"]}))
    swapped, _ = await begin(door)
    # Another login's code: the proof of who asked for it does not fit.
    stolen = await refusal(
        finish(door, swapped, {"state": state_of(swapped), "code": answer["code"]})
    )
    begun, answer = await begin(door, PAGE)
    await finish(door, begun, answer)
    again = await refusal(finish(door, begun, answer))

    assert {mixed.reason, stolen.reason, again.reason} == {"LOGIN_FAILED"}


def state_of(begun: Any) -> str:
    return str(parse_qs(urlsplit(begun.authorization_url).query)["state"][0])


async def test_keys_may_rotate_and_the_provider_may_be_away(
    door: Nobody, provider: Provider, monkeypatch: Any
) -> None:
    await log_in(door)
    provider.rotate()
    too_early = await refusal(finish(door, *await begin(door)))
    monkeypatch.setattr(providers, "ROTATED_SECONDS", 0.0)
    rotated = await log_in(door)
    begun, answer = await begin(door)
    provider.issuer += "/moved"
    monkeypatch.setattr(providers, "KEPT_SECONDS", 0.0)
    away = await refusal(finish(door, begun, answer))

    assert too_early.reason == "LOGIN_FAILED"
    assert rotated.session.token
    assert away.code == "UNAVAILABLE"


async def test_an_address_with_a_password_is_not_taken_over_and_without_a_provider_nobody_begins(
    system: System, door: Nobody, provider: Provider
) -> None:
    await first_admin(system)
    provider.person = {**BOB, "email": ADA}
    taken = await refusal(finish(door, *await begin(door)))
    none = await refusal(
        Nobody(system).BeginOidcLogin(pb.BeginOidcLoginRequest(redirect_uri=CALLBACK))
    )

    assert taken.reason == "STAFF_EXISTS"
    assert none.reason == "OIDC_NOT_CONFIGURED"


async def test_the_command_line_logs_in_by_a_browser(
    system: System, door: Nobody, provider: Provider
) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from headgate.cli.main import run; run()"),
        *("--target", system.addresses["oidc"], "login", "--oidc"),
        env={"PATH": "/usr/bin:/bin", "BROWSER": "true"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    page = (await process.stderr.readline()).decode().removeprefix("Open ").strip()
    async with httpx2.AsyncClient(follow_redirects=True) as browser:
        done = await browser.get(page)
    token = (await process.stdout.read()).decode().strip()
    session = await people(system, token, at="oidc").GetSession(pb.GetSessionRequest())

    assert await process.wait() == 0
    assert "You are logged in" in done.text
    assert session.member.email == "bob@example.com"
