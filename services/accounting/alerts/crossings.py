"""Reads admission's feed of crossings: each threshold of a limit, once in a period.

The cursor moves in the transaction that raises the alerts, and only from where it was read: of
many readers one raises what a page holds, and none of it is skipped.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.database import Pool
from headgate.api.admission.v1 import admission_pb2
from headgate.api.common.v1 import limit_pb2
from services.accounting.alerts.register import notice
from services.accounting.domain.findings import Crossing, describe_crossing
from services.accounting.queries import WATCH

FEED: Final = "crossings"
PAGE_SIZE: Final = 500
RPC_TIMEOUT_SECONDS: Final = 5.0

# The RPC of admission.
ListCrossings: TypeAlias = Callable[..., Awaitable[admission_pb2.ListCrossingsResponse]]


class CrossingFeed:
    """Raises alerts on crossings, in feed order."""

    def __init__(self, pool: Pool, list_crossings: ListCrossings) -> None:
        self._pool = pool
        self._list_crossings = list_crossings

    async def pull(self) -> int:
        """Raises all that was crossed by now; returns how many crossings this reader applied.

        Raises AioRpcError and what the driver raises; then the page is read again.
        """
        applied = 0
        while True:
            cursor = await self._pool.fetchrow(WATCH.fetch_cursor.sql, FEED)
            if cursor is None:
                raise AssertionError("the migration makes the cursor")
            start = (cursor["transaction_id"], cursor["row_id"])
            page = await self._list_crossings(
                admission_pb2.ListCrossingsRequest(
                    after=admission_pb2.CrossingCursor(transaction_id=start[0], row_id=start[1]),
                    page_size=PAGE_SIZE,
                ),
                timeout=RPC_TIMEOUT_SECONDS,
            )
            if not page.crossings:
                return applied
            if await self._apply(start, page):
                applied += len(page.crossings)

    async def _apply(
        self, start: tuple[int, int], page: admission_pb2.ListCrossingsResponse
    ) -> bool:
        """Returns whether this reader was the one."""
        end = (page.next.transaction_id, page.next.row_id)
        async with self._pool.acquire() as connection, connection.transaction():
            moved = await connection.fetchval(WATCH.advance_cursor.sql, FEED, *start, *end)
            if moved is None:
                return False
            for message in page.crossings:
                await notice(connection, describe_crossing(_parse(message)))
        return True


def _parse(message: admission_pb2.Crossing) -> Crossing:
    metric = limit_pb2.Metric.Name(message.metric)
    return Crossing(
        counter_id=message.counter_id,
        limit_id=message.limit_id,
        scope=dict(message.scope),
        metric=metric.removeprefix("METRIC_").lower(),
        start_time=_read(message.start_time) if message.HasField("start_time") else None,
        end_time=_read(message.end_time) if message.HasField("end_time") else None,
        percent=message.percent,
        cap=message.cap,
        settled=message.settled,
        owner=message.owner,
    )


def _read(time: Timestamp) -> dt.datetime:
    return time.ToDatetime(tzinfo=dt.UTC)
