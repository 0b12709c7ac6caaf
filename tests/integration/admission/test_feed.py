"""The settlement feed: every booked revision is applied, in whatever state the call is."""

from __future__ import annotations

import datetime as dt

import grpc
import pytest

from chassis.database import Connection
from headgate.api.accounting.v1 import accounting_pb2 as pb
from services.admission.domain.calls import CallKey, Release, Settle
from services.admission.engine import Engine
from services.admission.feed import PAGE_SIZE, SettlementFeed
from services.admission.sweeper import sweep
from tests.integration.admission.replicas import Start, assert_books, make_reserve


class Booked:
    """What accounting has booked, in feed order; answers as accounting does."""

    def __init__(self) -> None:
        self.settlements: list[pb.BookedSettlement] = []
        self.asked_after: list[int] = []

    def book(self, key: CallKey, total_nanos: int, *, revision: int = 1) -> None:
        self.settlements.append(
            pb.BookedSettlement(
                org=key.org,
                call_id=str(key.call_id),
                revision=revision,
                total_nanos=total_nanos,
            )
        )

    async def list_settlements(
        self, request: pb.ListSettlementsRequest, *, timeout: float
    ) -> pb.ListSettlementsResponse:
        after = request.after.row_id
        self.asked_after.append(after)
        page = self.settlements[after : after + request.page_size]
        return pb.ListSettlementsResponse(
            settlements=page, next=pb.FeedCursor(transaction_id=9, row_id=after + len(page))
        )


def make_feed(engine: Engine, booked: Booked, reader: str = "one") -> SettlementFeed:
    return SettlementFeed(
        pool=engine.pool,
        list_settlements=booked.list_settlements,
        reservations=engine.reservations,
        reader=reader,
    )


async def states(admin: Connection) -> dict[str, tuple[int, int]]:
    rows = await admin.fetch("SELECT call_id, state, settled_nanos FROM ended_reservation")
    return {str(row["call_id"]): (row["state"], row["settled_nanos"]) for row in rows}


async def test_reports_reach_calls_in_every_state(engine: Engine, admin: Connection) -> None:
    held, expired, released, settled = (
        make_reserve(40, hold=dt.timedelta(0 if number == 1 else 60)) for number in range(4)
    )
    unknown = make_reserve(40)
    await engine.reservations.submit_all([held, expired, released, settled])
    await sweep(engine.pool, engine.reservations)
    await engine.reservations.submit_all([Release(released.key), Settle(settled.key, 1, 11)])
    booked = Booked()
    for call in (held, expired, released, settled, unknown):
        booked.book(call.key, 11)
    feed = make_feed(engine, booked)
    assert await feed.pull() == 4  # `settled` was no news
    assert await states(admin) == {
        str(held.key.call_id): (2, 11),
        str(expired.key.call_id): (5, 11),
        str(released.key.call_id): (5, 11),
        str(settled.key.call_id): (2, 11),
        str(unknown.key.call_id): (2, 11),
    }
    assert await feed.pull() == 0
    assert booked.asked_after == [0, 5]
    await assert_books(engine)


async def test_a_crash_before_the_cursor_moves_changes_nothing(
    engine: Engine, admin: Connection
) -> None:
    call, booked = make_reserve(40), Booked()
    await engine.reservations.submit(call)
    booked.book(call.key, 11)
    await make_feed(engine, booked).pull()
    await admin.execute("UPDATE feed_cursor SET row_id = 0")
    assert await make_feed(engine, booked).pull() == 0
    assert await states(admin) == {str(call.key.call_id): (2, 11)}
    await assert_books(engine)


async def test_one_replica_reads_until_its_lease_ends(start: Start, admin: Connection) -> None:
    one, two = await start("one"), await start("two")
    booked = Booked()
    booked.book(make_reserve(1).key, 5)
    assert await make_feed(one, booked, "one").pull() == 1
    booked.book(make_reserve(1).key, 6)
    assert await make_feed(two, booked, "two").pull() == 0
    await admin.execute("UPDATE feed_cursor SET lease_time = clock_timestamp()")
    assert await make_feed(two, booked, "two").pull() == 1


async def test_a_reader_that_lost_its_lease_leaves_the_cursor(
    engine: Engine, admin: Connection
) -> None:
    booked = Booked()
    booked.book(make_reserve(1).key, 5)
    list_settlements = booked.list_settlements

    async def lose_lease(
        request: pb.ListSettlementsRequest, *, timeout: float
    ) -> pb.ListSettlementsResponse:
        await admin.execute("UPDATE feed_cursor SET reader = 'other'")
        return await list_settlements(request, timeout=timeout)

    booked.list_settlements = lose_lease  # type: ignore[method-assign]
    await make_feed(engine, booked).pull()
    assert await admin.fetchval("SELECT row_id FROM feed_cursor") == 0


async def test_many_pages_are_read_at_once(engine: Engine, admin: Connection) -> None:
    booked = Booked()
    for _ in range(PAGE_SIZE + 7):
        booked.book(make_reserve(1).key, 3)
    assert await make_feed(engine, booked).pull() == PAGE_SIZE + 7
    assert await admin.fetchval("SELECT row_id FROM feed_cursor") == PAGE_SIZE + 7


async def test_a_report_that_cannot_be_applied_holds_no_other_back(
    engine: Engine, admin: Connection
) -> None:
    call, booked = make_reserve(40), Booked()
    await engine.reservations.submit(call)
    booked.book(CallKey("no such org!", call.key.call_id), 5)
    booked.book(call.key, 11)
    assert await make_feed(engine, booked).pull() == 1
    assert await states(admin) == {str(call.key.call_id): (2, 11)}


async def test_accounting_away_is_tried_again(engine: Engine, admin: Connection) -> None:
    booked = Booked()

    async def fail(
        request: pb.ListSettlementsRequest, *, timeout: float
    ) -> pb.ListSettlementsResponse:
        raise grpc.aio.AioRpcError(
            grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata()
        )

    works, booked.list_settlements = booked.list_settlements, fail  # type: ignore[method-assign]
    with pytest.raises(grpc.aio.AioRpcError):
        await make_feed(engine, booked).pull()
    booked.list_settlements = works  # type: ignore[method-assign]
    booked.book(make_reserve(1).key, 3)
    assert await make_feed(engine, booked).pull() == 1
