"""Old events are forgotten, what waits is not, and to forget twice or never harms nobody."""

from __future__ import annotations

import asyncio

from services.accounting.jobs.prune_events import prune_events
from tests.integration.accounting.delivering import WAITING, Office
from tests.integration.accounting.noticing import channel, condition
from tests.integration.accounting.receivers import Receiver
from tests.integration.accounting.replicas import OpenConnection

AGE = """
    UPDATE delivery SET create_time = create_time - interval '91 days',
        end_time = end_time - interval '91 days';
    UPDATE event SET create_time = create_time - interval '91 days'
"""

BLOCKED = """
    SELECT count(*) FROM pg_stat_activity
    WHERE application_name = 'accounting-prune-events' AND wait_event_type = 'Lock'
        AND datname = current_database()
"""


async def test_what_is_old_and_ended_goes_and_what_waits_or_is_young_stays(
    office: Office, receiver: Receiver
) -> None:
    await office.put(channel(), receiver.url)
    await office.tell(condition("old"))
    await office.deliver()
    await office.tell(condition("waits"))
    await office.admin.execute(AGE)
    await office.tell(condition("young"))

    for _ in range(2):
        await prune_events(office.settings)
        kept = await office.admin.fetch(
            "SELECT a.alert_key FROM event AS e INNER JOIN alert AS a USING (alert_id) ORDER BY 1"
        )
        assert [row["alert_key"] for row in kept] == ["waits", "young"]
        assert await office.states() == [WAITING, WAITING]
    # People still see what was wrong once.
    assert await office.fetch("SELECT count(*) FROM alert") == 3
    assert await office.deliver() == 2
    assert len(receiver.posts) == 3


async def test_what_is_replayed_while_it_is_forgotten_is_not_lost(
    office: Office, receiver: Receiver, connect: OpenConnection
) -> None:
    await office.put(channel(), receiver.url)
    await office.tell(condition())
    receiver.status = 410
    await office.deliver()
    await office.admin.execute(AGE)
    replaying = await connect()
    async with replaying.transaction():
        await replaying.execute("UPDATE delivery SET state = 1, end_time = NULL, due_time = now()")
        pruning = asyncio.create_task(prune_events(office.settings))
        async with asyncio.timeout(60):
            while not await office.fetch(BLOCKED):  # noqa: ASYNC110 - nothing tells
                await asyncio.sleep(0.005)
    await pruning

    assert await office.states() == [WAITING]
    receiver.status = 200
    assert await office.deliver() == 1
