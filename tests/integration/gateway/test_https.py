"""The HTTP face with TLS: for whom it is, and certificates that are renewed while it serves."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest
import trustme
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from chassis.tls import Certificates, server_context
from gateway.config import GatewaySettings
from gateway.web.server import WebServer
from tests.integration.chassis.test_tls import NAMES, Folder
from tests.integration.gateway.system import gateway_settings


async def _answer(request: Request) -> Response:
    return PlainTextResponse("here")


@asynccontextmanager
async def serving(settings: GatewaySettings) -> AsyncIterator[str]:
    context = server_context(
        Certificates(settings), require_client=settings.tls_require_client_certificate
    )
    app = Starlette(routes=[Route("/", _answer)])
    server = WebServer(app, "127.0.0.1:0", context=context)
    running = asyncio.create_task(server.run())
    try:
        yield f"https://localhost:{server.port}/"
    finally:
        await server.close()
        await running


def trusting(authority: trustme.CA, own: trustme.LeafCert | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if own is not None:
        own.configure_cert(context)
    return context


async def ask(url: str, context: ssl.SSLContext) -> str:
    async with httpx2.AsyncClient(verify=context) as http:
        return (await http.get(url)).text


def write(folder: Path, authority: trustme.CA) -> Folder:
    files = Folder(folder)
    files.write(authority.issue_cert(*NAMES), authority)
    return files


async def test_only_the_right_authority_and_no_plain_text_is_taken(tmp_path: Path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    files = write(tmp_path / "tls", authority)
    async with serving(gateway_settings("postgresql://x", **files.fields)) as url:
        answer = await ask(url, trusting(authority))
        with pytest.raises(httpx2.ConnectError, match="certificate verify failed"):
            await ask(url, trusting(other))
        with pytest.raises(httpx2.TransportError):
            await ask(url.replace("https", "http"), trusting(authority))

    assert answer == "here"


async def test_a_client_without_a_certificate_is_refused_where_one_is_required(
    tmp_path: Path,
) -> None:
    authority = trustme.CA()
    files = write(tmp_path / "tls", authority)
    settings = gateway_settings(
        "postgresql://x", tls_require_client_certificate=True, **files.fields
    )
    async with serving(settings) as url:
        answer = await ask(url, trusting(authority, authority.issue_cert("client")))
        with pytest.raises(httpx2.TransportError):
            await ask(url, trusting(authority))
        with pytest.raises(httpx2.TransportError):
            await ask(url, trusting(authority, trustme.CA().issue_cert("client")))

    assert answer == "here"


async def test_renewed_certificates_are_shown_from_the_next_connection_on(tmp_path: Path) -> None:
    old, new = trustme.CA(), trustme.CA()
    files = write(tmp_path / "tls", old)
    async with (
        serving(gateway_settings("postgresql://x", **files.fields)) as url,
        httpx2.AsyncClient(verify=trusting(old)) as kept,
    ):
        before = (await kept.get(url)).text
        files.write(new.issue_cert(*NAMES), new)
        after = await ask(url, trusting(new))
        on_the_old_connection = (await kept.get(url)).text
        with pytest.raises(httpx2.ConnectError, match="certificate verify failed"):
            await ask(url, trusting(old))
        files.write_key(trustme.CA().issue_cert(*NAMES))
        unfitting = await ask(url, trusting(new))

    assert (before, after, on_the_old_connection, unfitting) == ("here",) * 4


def test_plain_text_beyond_loopback_is_refused_unless_it_is_said() -> None:
    with pytest.raises(ValueError, match="HTTP_LISTEN_ADDRESS is not loopback"):
        gateway_settings("postgresql://x", http_listen_address="0.0.0.0:7480")

    said = gateway_settings(
        "postgresql://x", http_listen_address="0.0.0.0:7480", allow_plaintext=True
    )
    assert said.http_listen_address == "0.0.0.0:7480"
