"""Each event reaches each channel that wants it, at least once, whoever dies on the way."""

from __future__ import annotations

import asyncio
import datetime as dt

import pytest

from services.accounting.delivery.channels import Channel
from services.accounting.delivery.gate import Opening
from services.accounting.domain.event_types import Severity
from services.accounting.domain.schedules import QuietHours
from tests.integration.accounting.delivering import DELIVERED, WAITING, Office
from tests.integration.accounting.noticing import EVENTS, channel, condition
from tests.integration.accounting.receivers import Receiver


async def test_a_receiver_gets_a_signed_event_once(office: Office, receiver: Receiver) -> None:
    secret = await office.put(channel(), receiver.url)
    await office.tell(condition(org="acme"))

    assert await office.deliver() == 1
    assert await office.deliver() == 0
    (post,) = receiver.posts
    (event,) = await office.admin.fetch(EVENTS)
    assert post.path == "/hook/s3cret"
    assert post.is_signed_by(secret)
    assert not post.is_signed_by("whsec_" + "A" * 44)
    assert post.headers["webhook-id"] == str(event["event_id"])
    assert abs(int(post.headers["webhook-timestamp"]) - event["create_time"].timestamp()) < 60
    assert post.json == {
        "type": "kill.lifted",
        "timestamp": event["create_time"].isoformat().replace("+00:00", "Z"),
        "version": 1,
        "severity": "warning",
        "org": "acme",
        "subject": "kill/platform",
        "title": "Calls pass again",
        "alert_id": event["alert_id"],
        "data": {"kill_id": "platform"},
    }
    assert await office.states() == [DELIVERED]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (channel(), ["acme", ""]),
        (channel(types=("kill",)), ["acme", ""]),
        (channel(types=("cost", "kill.lifted")), ["acme", ""]),
        (channel(types=("cost",)), []),
        (channel(severity_min=Severity.CRITICAL), []),
        (channel(paused=True), []),
        (channel(org="acme"), ["acme"]),
        (channel(org="globex"), []),
    ],
)
async def test_a_channel_gets_what_it_wants_of_what_it_may_see(
    office: Office, receiver: Receiver, wanted: Channel, expected: list[str]
) -> None:
    await office.put(wanted, receiver.url)
    for org in ("acme", ""):
        await office.tell(condition(f"key-{org}", org=org))
    await office.deliver()

    assert sorted(post.json["org"] for post in receiver.posts) == sorted(expected)


async def test_of_two_dispatchers_each_delivery_is_one_ones(
    office: Office,
    receiver: Receiver,
) -> None:
    await office.put(channel(), receiver.url)
    for number in range(30):
        await office.tell(condition(f"key-{number}"))
    counts = await asyncio.gather(*(office.deliver() for _ in range(2)))

    assert sum(counts) == 30
    assert len({post.headers["webhook-id"] for post in receiver.posts}) == 30
    assert len(receiver.posts) == 30


async def test_a_dispatcher_that_dies_is_replaced_when_its_lease_ends(
    office: Office, receiver: Receiver
) -> None:
    await office.put(channel(), receiver.url)
    await office.tell(condition())
    receiver.hangs = True
    lease = dt.timedelta(seconds=0.4)
    dying = asyncio.create_task(office.dispatcher(lease=lease).deliver_due())
    await receiver.wait_for(1)
    dying.cancel()
    await asyncio.wait([dying])
    receiver.hangs = False

    assert await office.states() == [WAITING]
    async with asyncio.timeout(60):
        while not await office.deliver():  # noqa: ASYNC110 - the lease ends by the clock
            await asyncio.sleep(0.02)
    assert await office.states() == [DELIVERED]
    assert len({post.headers["webhook-id"] for post in receiver.posts}) == 1


async def test_whoever_was_replaced_writes_nothing_down(
    office: Office, receiver: Receiver
) -> None:
    await office.put(channel(), receiver.url)
    await office.tell(condition())
    receiver.hangs = True
    slow = asyncio.create_task(office.deliver())
    await receiver.wait_for(1)
    receiver.hangs = False
    await office.make_due()
    assert await office.deliver() == 1
    # The slow one's attempt fails now, and must not undo the delivery.
    await slow

    (delivery,) = await office.deliveries()
    assert (delivery["state"], delivery["error"]) == (DELIVERED, "")


async def test_what_is_not_critical_waits_for_the_end_of_quiet_hours(
    office: Office, receiver: Receiver
) -> None:
    now = dt.datetime.now(dt.UTC)
    minute = now.hour * 60 + now.minute
    quiet = QuietHours(
        start_minute=(minute - 60) % 1_440, end_minute=(minute + 60) % 1_440, time_zone="UTC"
    )
    await office.put(channel(quiet=quiet), receiver.url)
    await office.tell(condition("quiet"))
    await office.tell(condition("loud", severity=Severity.CRITICAL))

    assert await office.deliver() == 1
    assert [post.json["severity"] for post in receiver.posts] == ["critical"]
    assert await office.states() == [WAITING, DELIVERED]
    (waiting,) = await office.admin.fetch("SELECT * FROM delivery WHERE state = 1")
    assert waiting["attempt_count"] == 0
    assert waiting["due_time"] - now > dt.timedelta(minutes=58)


async def test_while_notifications_are_off_deliveries_wait_and_none_is_lost(
    office: Office,
    receiver: Receiver,
) -> None:
    await office.put(channel(), receiver.url)
    await office.tell(condition())
    (row,) = await office.admin.fetch("SELECT org FROM delivery")
    off, off_here = Opening(by_default=False), Opening(exceptions=(row["org"], "others"))

    assert await office.dispatcher(opening=off).deliver_due() == 0
    assert await office.dispatcher(opening=off_here).deliver_due() == 0
    assert await office.states() == [WAITING]
    on_here = Opening(by_default=False, exceptions=(row["org"],))
    assert await office.dispatcher(opening=on_here).deliver_due() == 1
    assert len(receiver.posts) == 1


async def test_an_event_that_was_rolled_back_is_not_delivered(
    office: Office, receiver: Receiver
) -> None:
    await office.put(channel(), receiver.url)
    transaction = office.admin.transaction()
    await transaction.start()
    await office.tell(condition())
    await transaction.rollback()

    assert await office.deliver() == 0
    assert receiver.posts == []
