"""Receivers that hang, fail for a day, redirect, or are where nobody may reach."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
from typing import Any

import pytest

from services.accounting.delivery.dispatcher import FAILURES_TO_TELL, SENDER_COUNT_PER_CHANNEL
from services.accounting.domain.schedules import ATTEMPT_COUNT_MAX
from tests.integration.accounting.delivering import DEAD, DELIVERED, Office
from tests.integration.accounting.noticing import ALERTS, channel, condition
from tests.integration.accounting.receivers import Receiver, receiving


@pytest.mark.parametrize("how", ["500", "hang", "closed"])
async def test_a_receiver_that_is_broken_for_a_day_gets_everything_when_it_is_back(
    office: Office,
    receiver: Receiver,
    how: str,
) -> None:
    url = receiver.url if how != "closed" else "http://127.0.0.1:1/hook"
    await office.put(channel(), url)
    await office.tell(condition())
    receiver.status, receiver.hangs = 500, how == "hang"
    dispatcher = office.dispatcher()
    for _ in range(ATTEMPT_COUNT_MAX - 1):
        assert await dispatcher.deliver_due() == 1
        assert await dispatcher.deliver_due() == 0
        await office.make_due()

    (delivery,) = await office.admin.fetch("SELECT * FROM delivery WHERE state = 1")
    assert delivery["attempt_count"] == ATTEMPT_COUNT_MAX - 1
    assert delivery["error"]
    receiver.status, receiver.hangs = 200, False
    await office.put(channel(), receiver.url, audit_id="moved")
    assert await dispatcher.deliver_due() == 1
    assert await office.states() == [DELIVERED]


async def test_waits_grow_and_after_the_last_attempt_it_is_dead_until_it_is_replayed(
    office: Office,
    receiver: Receiver,
) -> None:
    await office.put(channel(), receiver.url)
    await office.tell(condition())
    receiver.status = 503
    dispatcher = office.dispatcher()
    waits = []
    for _ in range(ATTEMPT_COUNT_MAX):
        assert await dispatcher.deliver_due() == 1
        waits.append(await office.fetch("SELECT due_time - now() FROM delivery"))
        await office.make_due()

    assert await office.states() == [DEAD]
    # From the eighth on they are as long as they get, and only spread.
    assert waits[:7] == sorted(waits[:7])
    assert all(wait > dt.timedelta(hours=5) for wait in waits[7:-1])
    assert await dispatcher.deliver_due() == 0
    receiver.status = 200
    assert await office.replay("oncall") == 1
    assert await dispatcher.deliver_due() == 1
    assert await office.states() == [DELIVERED]
    assert len({post.headers["webhook-id"] for post in receiver.posts}) == 1


async def test_a_receiver_that_is_gone_for_good_is_not_asked_again(
    office: Office, receiver: Receiver
) -> None:
    await office.put(channel(), receiver.url)
    await office.tell(condition())
    receiver.status = 410
    await office.deliver()

    assert await office.states() == [DEAD]


async def test_a_receiver_may_ask_for_a_longer_wait(office: Office, receiver: Receiver) -> None:
    await office.put(channel(), receiver.url)
    await office.tell(condition())
    receiver.status, receiver.headers = 429, {"retry-after": "3000"}
    await office.deliver()

    wait = await office.fetch("SELECT due_time - now() FROM delivery")
    assert dt.timedelta(seconds=2_900) < wait <= dt.timedelta(seconds=3_000)


async def test_redirects_are_not_followed(office: Office, receiver: Receiver) -> None:
    async with receiving("127.0.0.2") as inner:
        await office.put(channel(), receiver.url)
        await office.tell(condition())
        receiver.status, receiver.headers = 307, {"location": inner.url}
        await office.deliver()

        assert inner.posts == []
        (delivery,) = await office.deliveries()
        assert "redirects are not followed" in delivery["error"]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.2:{port}/",
        "http://[::ffff:127.0.0.2]:{port}/",
        "http://localhost.localdomain.invalid/",
        "https://127.0.0.2:{port}/",
        "http://2130706434:{port}/",
    ],
)
async def test_what_only_our_servers_can_reach_is_not_reached(office: Office, url: str) -> None:
    async with receiving("127.0.0.2") as inner:
        await office.put(channel(), url.format(port=inner.port))
        await office.tell(condition())
        await office.deliver()

        assert inner.posts == []
        (delivery,) = await office.deliveries()
        assert "address" in delivery["error"] or "resolved" in delivery["error"]


def name_leads_to(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Lets every name lead to these addresses, one answer after the other; the last one stays."""
    loop = asyncio.get_running_loop()
    asked: list[str] = []

    async def look_up(host: str | bytes, port: int, **_: Any) -> list[Any]:
        name = host.decode() if isinstance(host, bytes) else host
        addresses = [name]
        if not name[0].isdigit():
            addresses = answers[min(len(asked), len(answers) - 1)]
            asked.append(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (each, port)) for each in addresses]

    monkeypatch.setattr(loop, "getaddrinfo", look_up)
    return asked


@pytest.mark.parametrize("addresses", [["127.0.0.2"], ["127.0.0.1", "127.0.0.2"]])
async def test_a_name_that_leads_to_an_inner_address_is_refused(
    office: Office, monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    async with receiving("127.0.0.2") as inner, receiving(port=inner.port) as beside:
        await office.put(channel(), f"http://hooks.example.com:{inner.port}/")
        await office.tell(condition())
        asked = name_leads_to(monkeypatch, addresses)
        await office.deliver()

        assert asked == ["hooks.example.com"]
        assert inner.posts == beside.posts == []
        (delivery,) = await office.deliveries()
        assert "its address is not public" in delivery["error"]


async def test_a_name_that_leads_elsewhere_after_the_check_is_not_followed(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with receiving("127.0.0.2") as inner, receiving(port=inner.port) as checked:
        await office.put(channel(), f"http://hooks.example.com:{inner.port}/")
        await office.tell(condition())
        asked = name_leads_to(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
        await office.dispatcher(patience_seconds=10).deliver_due()

        # Looked up once: what was checked is what was connected to.
        assert asked == ["hooks.example.com"]
        assert inner.posts == []
        assert [post.headers["host"] for post in checked.posts] == [
            f"hooks.example.com:{inner.port}"
        ]


async def test_a_channel_that_hangs_does_not_hold_up_the_others(
    office: Office,
    receiver: Receiver,
) -> None:
    async with receiving() as healthy:
        await office.put(channel("stuck"), receiver.url)
        await office.put(channel("well"), healthy.url)
        receiver.hangs = True
        for number in range(8):
            await office.tell(condition(f"key-{number}"))
        patient = office.dispatcher(patience_seconds=60)
        running = asyncio.create_task(patient.deliver_due())
        await healthy.wait_for(8)

        # No hanging attempt was over when all others had been made.
        assert len(receiver.posts) <= SENDER_COUNT_PER_CHANNEL
        running.cancel()
        await asyncio.wait([running])


async def test_people_hear_by_another_channel_that_one_fails_and_not_by_itself(
    office: Office,
    receiver: Receiver,
) -> None:
    async with receiving() as healthy:
        await office.put(channel("broken", org="acme"), receiver.url)
        receiver.status = 500
        await office.tell(condition(org="acme"))
        dispatcher = office.dispatcher()
        await office.put(channel("well"), healthy.url)
        for _ in range(FAILURES_TO_TELL + 2):
            await dispatcher.deliver_due()
            await office.make_due()

        (told,) = [post.json for post in healthy.posts]
        assert told["type"] == "notification.failing"
        assert told["subject"] == "channel/acme/broken"
        assert told["data"]["error"] == "answered 500"
        assert {post.json["type"] for post in receiver.posts} == {"kill.lifted"}
        receiver.status = 200
        await dispatcher.deliver_due()
        (alert,) = await office.admin.fetch(f"SELECT * FROM ({ALERTS}) a WHERE type LIKE 'notif%'")
        assert alert["resolve_time"] is not None
