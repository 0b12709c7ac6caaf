"""Events as they come: to whom they are meant, over two gateways, as long as one may watch."""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx2
import pytest

from gateway import event_watch
from headgate.api.gateway.v1 import admin_pb2
from headgate.api.gateway.v1 import event_admin_pb2 as pb
from headgate.api.gateway.v1.event_admin_pb2_grpc import EventAdminServiceStub
from headgate.channel import authorization
from tests.integration.gateway.system import ADMIN_KEY, Keyed, System, refusal

INSERT = """
    INSERT INTO accounting.event
        (event_id, type, type_version, severity, org, subject, title, data, muted)
    VALUES ($1, $2, 1, 3, $3, 's', $4, '{}', false)
"""
EVENT_COUNT = 40


def watcher(system: System, key: str = ADMIN_KEY, *, at: str = "gateway") -> Keyed:
    return Keyed(EventAdminServiceStub(system.channel(at)), key)


async def happen(
    connection: asyncpg.Connection[Any], title: str, *, kind: str = "kill.set", org: str = ""
) -> None:
    await connection.execute(INSERT, uuid.uuid4(), kind, org, title)


async def write_in_any_order(system: System, worker: int) -> None:
    """Writes events in transactions that overlap with those of other workers."""
    chance = random.Random(worker)
    connection = await asyncpg.connect(system.url)
    try:
        for number in range(EVENT_COUNT // 4):
            async with connection.transaction():
                await happen(connection, f"{worker}-{number}")
                await asyncio.sleep(chance.random() / 20)
    finally:
        await connection.close()


async def read_some(system: System, at: str, token: str, count: int) -> tuple[list[str], str]:
    """Returns the titles of the next events at a gateway, and the last token."""
    titles: list[str] = []
    request = pb.WatchEventsRequest(resume_token=token, types=["kill"])
    stream = watcher(system, at=at).WatchEvents(request, timeout=60)
    async for told in stream:
        token = told.resume_token
        titles += [told.event.title] if told.HasField("event") else []
        if len(titles) == count or titles[-1:] == ["end"]:
            break
    stream.cancel()
    return titles, token


async def write_all(system: System) -> None:
    await asyncio.gather(*(write_in_any_order(system, each) for each in range(4)))
    connection = await asyncpg.connect(system.url)
    await happen(connection, "end")
    await connection.close()


async def test_none_is_lost_and_none_comes_twice_over_two_gateways(system: System) -> None:
    await system.start("gateway-2")
    _, token = await begin(system)
    writing = asyncio.create_task(write_all(system))
    seen: list[str] = []
    while "end" not in seen:
        at = random.choice(["gateway", "gateway-2"])
        titles, token = await read_some(system, at, token, random.randrange(1, 8))
        seen += titles
    await writing

    assert sorted(seen) == sorted(
        [*(f"{each}-{n}" for each in range(4) for n in range(10)), "end"]
    )
    # What one writer wrote comes in its order.
    for worker in "0123":
        own = [title for title in seen if title.startswith(worker)]
        assert own == sorted(own, key=lambda title: int(title[2:]))


async def test_none_is_told_before_one_that_may_still_come_before_it(system: System) -> None:
    stream, _ = await begin(system)
    early, late = [await asyncpg.connect(system.url) for _ in range(2)]
    transaction = early.transaction()
    await transaction.start()
    await happen(early, "early")
    await happen(late, "late")
    told = asyncio.ensure_future(anext(aiter(stream)))
    # Long enough for many looks at the feed.
    await asyncio.wait([told], timeout=1)
    await transaction.commit()
    titles = [(await told).event.title]
    # Nothing follows if it was lost.
    if titles == ["early"]:
        titles.append((await anext(aiter(stream))).event.title)
    for connection in (early, late):
        await connection.close()

    assert titles == ["early", "late"]


async def begin(system: System) -> tuple[Any, str]:
    """Returns a stream from now on, and where it begins."""
    stream = watcher(system).WatchEvents(pb.WatchEventsRequest(), timeout=60)
    first = await anext(aiter(stream))
    assert not first.HasField("event")
    return stream, first.resume_token


async def make_key(system: System, *orgs: str) -> tuple[str, str]:
    """Returns a viewer's key, and its public part."""
    request = admin_pb2.CreateApiKeyRequest(name="v", orgs=orgs, role=admin_pb2.ROLE_VIEWER)
    made = await system.staff().CreateApiKey(request)
    return made.secret, made.api_key.key_id


async def test_who_has_a_role_for_an_org_alone_sees_that_orgs(system: System) -> None:
    key, _ = await make_key(system, "acme")
    stub = watcher(system, key)
    all_orgs = await refusal(anext(aiter(stub.WatchEvents(pb.WatchEventsRequest()))))
    other = await refusal(anext(aiter(stub.WatchEvents(pb.WatchEventsRequest(org="globex")))))
    stream = aiter(stub.WatchEvents(pb.WatchEventsRequest(org="acme"), timeout=60))
    await anext(stream)
    connection = await asyncpg.connect(system.url)
    for org in ("globex", "", "acme"):
        await happen(connection, f"of {org}", org=org)
    await connection.close()
    told = await anext(stream)

    assert (all_orgs.code, other.code) == ("PERMISSION_DENIED", "PERMISSION_DENIED")
    assert told.event.title == "of acme"


async def test_a_stream_ends_when_its_key_is_revoked(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_watch, "LOOK_SECONDS", 0.1)
    key, key_id = await make_key(system)
    stream = aiter(watcher(system, key).WatchEvents(pb.WatchEventsRequest(), timeout=60))
    await anext(stream)
    await system.staff().RevokeApiKey(admin_pb2.RevokeApiKeyRequest(key_id=key_id))
    ended = await refusal(anext(stream))

    assert ended.code == "UNAUTHENTICATED"


async def test_what_is_wrong_is_named(system: System) -> None:
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"types": ["Cost!"]}, "types[0]"),
        ({"types": ["a"] * 33}, "types"),
        ({"severity_min": 9}, "severity_min"),
        ({"resume_token": "x"}, "resume_token"),
        ({"org": "x" * 129}, "org"),
    ]
    for changes, field in wrong:
        stream = watcher(system).WatchEvents(pb.WatchEventsRequest(**changes))
        refused = await refusal(anext(aiter(stream)))

        assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", (field,))


async def lines_of(response: httpx2.Response) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """Yields the id and the data of each server-sent event."""
    event_id = ""
    async for line in response.aiter_lines():
        if line.startswith("id: "):
            event_id = line.removeprefix("id: ")
        elif line.startswith("data: "):
            yield event_id, json.loads(line.removeprefix("data: "))


async def test_a_browser_goes_on_after_the_last_event_that_it_saw(
    system: System, web: str
) -> None:
    headers = {**dict(authorization(ADMIN_KEY)), "accept": "text/event-stream"}
    url = f"{web}/v1/events:watch?types=kill"
    connection = await asyncpg.connect(system.url)
    async with httpx2.AsyncClient(timeout=30) as client:
        async with client.stream("GET", url, headers=headers) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            lines = lines_of(response)
            await anext(lines)
            for number in range(3):
                await happen(connection, str(number))
            last, told = await anext(lines)
        assert told["event"]["title"] == "0"
        async with client.stream(
            "GET", url, headers={**headers, "last-event-id": last}
        ) as response:
            lines = lines_of(response)
            titles = [
                each["event"]["title"] for each in [(await anext(lines))[1] for _ in range(3)][1:]
            ]
    await connection.close()

    assert titles == ["1", "2"]
