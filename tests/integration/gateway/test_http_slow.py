"""Clients that hold connections for nothing: they are let go, and others are served meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

import httpx2
import pytest
import pytest_asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from gateway.web import server as web_server
from gateway.web.server import WebServer

PATIENCE: Final = 0.5


async def answer(request: Request) -> Response:
    await asyncio.sleep(2 * PATIENCE)
    return PlainTextResponse("here")


@pytest_asyncio.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(web_server, "HEADER_SECONDS_MAX", PATIENCE)
    server = WebServer(Starlette(routes=[Route("/", answer)]), "127.0.0.1:0")
    running = asyncio.create_task(server.run())
    yield server.port
    await server.close()
    await running


@pytest.mark.parametrize(
    "begun",
    [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HT"],
)
async def test_a_request_that_never_begins_is_let_go(port: int, begun: bytes) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(begun)
    async with asyncio.timeout(10 * PATIENCE + 6):
        said = await reader.read()
    writer.close()

    assert said.count(b"200 OK") == begun.count(b"\r\n\r\n")


async def test_an_answer_may_take_longer_and_others_are_served_meanwhile(port: int) -> None:
    held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(50)]
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        # Longer than the patience, twice on one connection.
        answers = [await http.get("/") for _ in range(2)]
    for _, writer in held:
        writer.close()

    assert [each.text for each in answers] == ["here", "here"]
