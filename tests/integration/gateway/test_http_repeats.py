"""A request with an `Idempotency-Key` happens once, however often and wherever it is made."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx2
import pytest
import pytest_asyncio

from gateway.store import Store
from gateway.web.rest import repeats
from gateway.web.rest.answer_store import AnswerStore
from gateway.web.rest.repeats import Answer, Repeats
from tests.integration.gateway.system import ADMIN_KEY, System

KEY = {"name": "of a test", "role": "ROLE_VIEWER"}
SHOWN = {"authorization": f"Bearer {ADMIN_KEY}"}


@pytest_asyncio.fixture
async def other(system: System, web: str) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of another gateway than `web`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = "{}:{}".format(*free.getsockname())
    await system.start("other", http_listen_address=address)
    async with httpx2.AsyncClient(base_url=f"http://{address}", headers=SHOWN) as http:
        yield http


@pytest_asyncio.fixture
async def staff(web: str) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=web, headers=SHOWN, timeout=30) as http:
        yield http


async def make_key(http: httpx2.AsyncClient, key: str, **more: Any) -> httpx2.Response:
    return await http.post("/v1/apiKeys", json=KEY | more, headers={"idempotency-key": key})


async def count_keys(http: httpx2.AsyncClient) -> int:
    keys = (await http.get("/v1/apiKeys")).json()["apiKeys"]
    return len([each for each in keys if each["name"] == KEY["name"]])


async def test_a_repeat_at_another_gateway_gets_the_first_answer_without_its_secret(
    staff: httpx2.AsyncClient, other: httpx2.AsyncClient, system: System
) -> None:
    first = await make_key(staff, "a-1")
    again = await make_key(other, "a-1")
    others = await make_key(other, "a-2")
    (kept,) = await system.fetch(
        "gateway", "SELECT answer FROM http_answer ORDER BY begin_time LIMIT 1"
    )

    assert first.json()["secret"]
    assert again.json() == {**first.json(), "secret": ""}
    assert again.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert others.json()["apiKey"]["keyId"] != first.json()["apiKey"]["keyId"]
    assert first.json()["secret"].encode() not in kept["answer"]
    assert await count_keys(staff) == 2


async def test_many_at_once_over_two_gateways_happen_once(
    staff: httpx2.AsyncClient, other: httpx2.AsyncClient
) -> None:
    answers = await asyncio.gather(
        *(make_key(http, "b-1") for http in (staff, other) for _ in range(8))
    )

    assert await count_keys(staff) == 1
    assert {each.status_code for each in answers} <= {200, 409}
    assert (await make_key(other, "b-1")).status_code == 200


async def test_another_request_with_the_same_key_is_refused(staff: httpx2.AsyncClient) -> None:
    await make_key(staff, "c-1")
    answer = await make_key(staff, "c-1", name="another")

    assert (answer.status_code, answer.json()["reason"]) == (422, "KEY_REUSED")


async def test_what_failed_is_tried_again(system: System, staff: httpx2.AsyncClient) -> None:
    headers = {"idempotency-key": "d-1"}
    path = "/v1/alertMutes/0190c3f0-0000-7000-8000-000000000000"
    await system.stop("accounting")
    away = await staff.delete(path, headers=headers)
    await system.start("accounting")
    back = await staff.delete(path, headers=headers)

    assert away.status_code in (503, 504)
    assert back.status_code == 404


async def test_nobody_unknown_keeps_anything(web: str, system: System) -> None:
    async with httpx2.AsyncClient(base_url=web) as http:
        answer = await make_key(http, "e-1")

    assert answer.status_code == 401
    assert await system.fetch("gateway", "SELECT 1 FROM http_answer") == []


@pytest.mark.parametrize("key", ["", "x" * 129, "\xe9"])
async def test_a_key_that_is_none_is_refused(staff: httpx2.AsyncClient, key: str) -> None:
    headers = {b"idempotency-key": key.encode("latin-1")}
    answer = await staff.post("/v1/apiKeys", json=KEY, headers=headers)

    assert (answer.status_code, answer.json()["reason"]) == (400, "INVALID_HEADER")


async def test_a_request_whose_gateway_died_may_be_made_again(
    system: System, staff: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_key(staff, "f-1")
    connection = await asyncpg.connect(system.url)
    await connection.execute("UPDATE gateway.http_answer SET answer = NULL")
    under_way = await make_key(staff, "f-1")
    monkeypatch.setattr(repeats, "ABANDONED_SECONDS", 0.0)
    taken_over = await make_key(staff, "f-1")
    await connection.close()

    assert (under_way.status_code, under_way.json()["reason"]) == (409, "REQUEST_UNDER_WAY")
    assert taken_over.status_code == 200


async def test_old_answers_are_removed(
    system: System, staff: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await make_key(staff, "g-1")
    pool = await asyncpg.create_pool(system.url, server_settings={"search_path": "gateway"})
    kept = Repeats(AnswerStore(Store(pool)))
    await kept.prune()
    before = await system.fetch("gateway", "SELECT 1 FROM http_answer")
    monkeypatch.setattr(repeats, "KEPT_SECONDS", 0.0)
    await kept.prune()
    after = await system.fetch("gateway", "SELECT 1 FROM http_answer")
    await pool.close()

    assert (len(before), len(after)) == (1, 0)


async def test_a_request_that_is_cut_off_leaves_its_key_free(system: System) -> None:
    pool = await asyncpg.create_pool(system.url, server_settings={"search_path": "gateway"})
    kept, begun = Repeats(AnswerStore(Store(pool))), asyncio.Event()

    async def hang() -> Answer:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    task = asyncio.create_task(kept.run("who", "h-1", b"asked", hang))
    await begun.wait()
    task.cancel()
    await asyncio.wait({task})
    rows = await system.fetch("gateway", "SELECT 1 FROM http_answer")
    await pool.close()

    assert rows == []
