"""A login by the certified provider that npm has, as a person does it at its pages."""

from __future__ import annotations

import asyncio
import re
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2
import pytest
import pytest_asyncio

from headgate.api.gateway.v1 import admin_pb2
from tests.integration.gateway.people import Nobody, pb
from tests.integration.gateway.provider import CLIENT_ID, CLIENT_SECRET
from tests.integration.gateway.system import System

NPM: Final = shutil.which("npm")
PACKAGE: Final = Path(__file__).with_name("oidc_provider")
CALLBACK: Final = "http://127.0.0.1:9/callback"
STEP_COUNT_MAX: Final = 12


@pytest_asyncio.fixture
async def issuer(tmp_path: Path) -> AsyncIterator[str]:
    shutil.copytree(PACKAGE, tmp_path, dirs_exist_ok=True)
    install = await asyncio.create_subprocess_exec(
        *("npm", "ci", "--no-audit", "--no-fund", "--silent"), cwd=tmp_path
    )
    assert await install.wait() == 0
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        *("node", "provider.mjs", str(port), CLIENT_ID, CLIENT_SECRET, CALLBACK),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    async with asyncio.timeout(60):
        address = (await process.stdout.readline()).decode().strip()
    yield address
    process.kill()
    await process.wait()


async def visit(page: str) -> dict[str, str]:
    """Goes through the pages as a person does; returns what is sent back to us."""
    async with httpx2.AsyncClient() as browser:
        answer = await browser.get(page)
        for _ in range(STEP_COUNT_MAX):
            if answer.has_redirect_location:
                there = urljoin(str(answer.url), answer.headers["location"])
                if there.startswith(CALLBACK):
                    query = parse_qs(urlsplit(there).query)
                    return {name: values[0] for name, values in query.items()}
                answer = await browser.get(there)
                continue
            action = re.search(r'<form[^>]* action="([^"]+)"', answer.text)
            assert action is not None, answer.text
            prompt = "login" if 'name="login"' in answer.text else "consent"
            form = {"prompt": prompt, "login": "carol", "password": "any"}
            answer = await browser.post(urljoin(str(answer.url), action[1]), data=form)
    raise AssertionError("the pages lead nowhere")


@pytest.mark.skipif(NPM is None, reason="there is no node with npm on this machine")
async def test_the_certified_provider_lets_somebody_in(system: System, issuer: str) -> None:
    await system.start(
        "oidc",
        oidc_issuer=issuer,
        oidc_client_id=CLIENT_ID,
        oidc_client_secret=CLIENT_SECRET,
        oidc_roles="acme-leads=editor@acme",
    )
    door = Nobody(system, at="oidc")
    begun = await door.BeginOidcLogin(pb.BeginOidcLoginRequest(redirect_uri=CALLBACK))
    answer = await visit(begun.authorization_url)
    done = await door.FinishOidcLogin(
        pb.FinishOidcLoginRequest(
            login_secret=begun.login_secret, state=answer["state"], code=answer["code"]
        )
    )

    assert done.member.email == "carol@example.com"
    assert [(each.org, each.role) for each in done.member.grants] == [
        ("acme", admin_pb2.ROLE_EDITOR)
    ]
    await system.staff(done.session.token).ListCounters(admin_pb2.ListCountersRequest(org="acme"))
