"""From a threshold to a mail and a webhook: once, whoever races, and whoever is killed."""

from __future__ import annotations

import asyncio
import signal

from chassis.database import Pool
from services.accounting.alerts.crossings import CrossingFeed
from services.accounting.delivery.channels import ChannelKind
from tests.integration.accounting.crossing_feed import Feed, crossing
from tests.integration.accounting.delivering import DELIVERED, WAITING, Office
from tests.integration.accounting.noticing import channel, condition
from tests.integration.accounting.receivers import Receiver, mailing
from tests.integration.accounting.test_process import served

REPLICA_COUNT = 16


async def race(pool: Pool, office: Office, feed: Feed) -> None:
    """16 replicas read the crossings at once, and then deliver at once."""
    readers = [CrossingFeed(pool, feed.list_crossings) for _ in range(REPLICA_COUNT)]
    await asyncio.gather(*(reader.pull() for reader in readers))
    senders = [office.dispatcher() for _ in range(REPLICA_COUNT)]
    await asyncio.gather(*(sender.deliver_due() for sender in senders))


async def test_16_replicas_over_a_threshold_send_one_mail_and_one_webhook_in_each_period(
    pool: Pool, office: Office, receiver: Receiver
) -> None:
    async with mailing() as mailbox:
        await office.put(channel("mail", kind=ChannelKind.APPRISE), mailbox.url)
        secret = await office.put(channel("hook"), receiver.url)
        feed = Feed([crossing("november", 80)])
        await race(pool, office, feed)

        assert len(mailbox.mails) == 1
        (post,) = receiver.posts
        assert post.is_signed_by(secret)
        assert post.json["type"] == "cost.budget.warning"
        assert post.json["data"]["threshold_percent"] == 80
        await race(pool, office, feed)
        assert (len(mailbox.mails), len(receiver.posts)) == (1, 1)

        feed.rows.append(crossing("december", 80))
        await race(pool, office, feed)
        assert (len(mailbox.mails), len(receiver.posts)) == (2, 2)
        assert set(await office.states()) == {DELIVERED}


async def test_a_server_that_is_killed_while_it_delivers_loses_nothing(
    office: Office, receiver: Receiver
) -> None:
    await office.put(channel(), receiver.url)
    receiver.hangs = True
    async with served(office.settings) as (process, _):
        await office.tell(condition())
        await receiver.wait_for(1)
        process.send_signal(signal.SIGKILL)
        await process.wait()
    receiver.hangs = False

    assert await office.states() == [WAITING]
    await office.make_due()
    assert await office.deliver() == 1
    assert await office.states() == [DELIVERED]
    # The receiver tells by the id that it is the same event.
    assert len({post.headers["webhook-id"] for post in receiver.posts}) == 1
