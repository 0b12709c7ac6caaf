"""The settlement feed gives every booked revision once, whatever order transactions commit in."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from chassis.database import Connection
from services.accounting.domain.usage import (
    FEED_START,
    Booking,
    FeedPosition,
    Report,
    Settlement,
)
from tests.integration.accounting.replicas import Open, OpenConnection, Replica, wait_for_older
from tests.integration.accounting.samples import SAMPLE_NANOS, now, report

# What a feed must not do: a cursor over the sequence alone.
NAIVE = """
SELECT row_id, call_id FROM usage_log WHERE row_id > $1::bigint ORDER BY row_id
"""


async def read_all(
    replica: Replica, after: FeedPosition = FEED_START, *, page: int = 500
) -> list[Settlement]:
    await wait_for_older(replica.pool)
    found: list[Settlement] = []
    while settlements := await replica.store.list_settlements(after, page):
        found += settlements
        after = settlements[-1].position
    return found


async def write(connection: Connection, each: Report) -> None:
    """Appends a row as `book_calls` does, inside of the connection's own transaction."""
    await connection.execute(
        """
        INSERT INTO usage_entry (
            org, call_id, admit_time, kind_id, caller_id, outcome, cost_basis, price_version,
            held_nanos, total_nanos, payload_digest
        )
        SELECT
            $1::text, $2::uuid, $3::timestamptz, max(k.kind_id), max(c.caller_id), 1, 1, 1, 9,
            5, ''
        FROM call_kind AS k, caller AS c
        """,
        each.org,
        each.call_id,
        each.admit_time,
    )


@asynccontextmanager
async def open_transaction(connection: Connection) -> AsyncIterator[None]:
    transaction = connection.transaction()
    await transaction.start()
    yield
    await transaction.commit()


async def prepare(replica: Replica) -> None:
    """Books one report, so that the day has its partition."""
    await replica.ledger.record([report()])


async def test_it_gives_call_revision_and_total(replica: Replica) -> None:
    once = report(org="globex")
    await replica.ledger.record([once])

    (settlement,) = await read_all(replica)

    assert settlement[1:] == ("globex", once.call_id, 1, SAMPLE_NANOS, 110)


async def test_a_replay_and_a_refusal_add_nothing(replica: Replica) -> None:
    once = report()
    await replica.ledger.record([once, once])
    await replica.ledger.record([once, report(admit_time=dt.datetime(1970, 1, 1, tzinfo=dt.UTC))])

    assert len(await read_all(replica)) == 1


async def test_a_correction_is_a_row_of_its_own(replica: Replica, admin: Connection) -> None:
    once = report()
    await replica.ledger.record([once])
    (first,) = await read_all(replica)
    await admin.execute(
        """
        INSERT INTO usage_entry (
            org, call_id, revision, admit_time, kind_id, caller_id, outcome, cost_basis,
            price_version, held_nanos, total_nanos, payload_digest
        )
        SELECT
            org, call_id, 2, admit_time, kind_id, caller_id, outcome, cost_basis,
            price_version, held_nanos, 77, payload_digest
        FROM usage_entry
        """
    )

    (second,) = await read_all(replica, first.position)

    assert second[1:] == (once.org, once.call_id, 2, 77, None)


async def test_pages_of_any_size_give_every_row_once_in_order(replica: Replica) -> None:
    for _ in range(3):
        await replica.ledger.record([report() for _ in range(5)])

    whole = await read_all(replica)

    assert len(whole) == 15
    assert whole == sorted(whole, key=lambda each: each.position)
    for page in (1, 4, 15):
        assert await read_all(replica, page=page) == whole


async def test_days_do_not_disturb_its_order(replica: Replica) -> None:
    yesterday = now() - dt.timedelta(days=1)
    reports = [report(admit_time=now()), report(admit_time=yesterday), report(admit_time=now())]
    for each in reports:
        await replica.ledger.record([each])

    assert [each.call_id for each in await read_all(replica)] == [r.call_id for r in reports]


async def test_a_row_that_commits_late_is_held_back_and_never_skipped(
    replica: Replica, connect: OpenConnection
) -> None:
    await prepare(replica)
    slow, fast = await connect(), await connect()
    overtaken, overtaking = report(), report()
    position = (await read_all(replica))[-1].position

    async with open_transaction(slow):
        await write(slow, overtaken)
        async with open_transaction(fast):
            await write(fast, overtaking)
        # The fast one has committed, after a smaller position that has not.
        assert await replica.store.list_settlements(position, 500) == []
    after = await read_all(replica, position)

    assert [each.call_id for each in after] == [overtaken.call_id, overtaking.call_id]


async def test_a_cursor_over_the_sequence_alone_would_have_skipped_it(
    replica: Replica, connect: OpenConnection
) -> None:
    await prepare(replica)
    slow, fast, reader = await connect(), await connect(), await connect()
    overtaken, overtaking = report(), report()
    cursor = (await reader.fetch(NAIVE, 0))[-1]["row_id"]
    seen: set[uuid.UUID] = set()

    async with open_transaction(slow):
        await write(slow, overtaken)
        async with open_transaction(fast):
            await write(fast, overtaking)
        for row in await reader.fetch(NAIVE, cursor):
            cursor, seen = row["row_id"], seen | {row["call_id"]}
    seen |= {row["call_id"] for row in await reader.fetch(NAIVE, cursor)}

    assert seen == {overtaking.call_id}


async def test_a_transaction_that_rolled_back_leaves_a_gap_and_no_wait(
    replica: Replica, connect: OpenConnection
) -> None:
    await prepare(replica)
    broken = await connect()
    transaction = broken.transaction()
    await transaction.start()
    await write(broken, report())
    await transaction.rollback()
    later = report()
    await replica.ledger.record([later])

    assert [each.call_id for each in await read_all(replica)][1:] == [later.call_id]


async def test_a_reader_beside_busy_writers_gets_every_row_once(start: Open) -> None:
    writers = [await start() for _ in range(3)]
    reader = await start()
    done = asyncio.Event()
    read: list[Settlement] = []

    async def follow() -> None:
        position = FEED_START
        while True:
            last = done.is_set()
            page = await reader.store.list_settlements(position, 7)
            read.extend(page)
            position = page[-1].position if page else position
            if last and not page:
                return

    async def book(replica: Replica) -> list[Report]:
        booked: list[Report] = []
        for _ in range(25):
            batch = [report() for _ in range(4)]
            answers = await replica.ledger.record(batch)
            assert all(isinstance(answer, Booking) for answer in answers)
            booked += batch
        return booked

    following = asyncio.create_task(follow())
    booked = await asyncio.gather(*[book(writer) for writer in writers])
    await wait_for_older(reader.pool)
    done.set()
    await following

    expected = {each.call_id for batch in booked for each in batch}
    assert len(read) == len(expected) == 300
    assert {each.call_id for each in read} == expected
    assert read == sorted(read, key=lambda each: each.position)
