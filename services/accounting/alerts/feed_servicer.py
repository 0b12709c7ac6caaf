"""The feed of events: what gateways give on to whoever watches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypeAlias

import asyncpg
import grpc

from chassis import paging
from chassis.checks import Checks
from chassis.database import Pool
from headgate.api.accounting.v1 import events_pb2 as pb
from headgate.api.accounting.v1 import events_pb2_grpc as pb_grpc
from services.accounting.alerts.wire import NUMBER_MAX, render_event
from services.accounting.queries import ALERTS

PAGE_SIZE_DEFAULT: Final = 500

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"


class EventFeedServicer(pb_grpc.EventFeedServiceServicer):
    """Serves the feed."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def ListEventFeed(
        self, request: pb.ListEventFeedRequest, context: Context
    ) -> pb.ListEventFeedResponse:
        after, count = _parse(request)
        if after is None:
            end = await self._pool.fetchrow(ALERTS.find_end_of_event_feed.sql)
            return pb.ListEventFeedResponse(next=_cursor(end))
        rows = await self._pool.fetch(ALERTS.list_event_feed.sql, *after, count)
        return _render(rows, request.after)


def _parse(request: pb.ListEventFeedRequest) -> tuple[tuple[int, int] | None, int]:
    """Returns after which place to read (None: at the end), and how many."""
    checks = Checks()
    after = request.after
    for name in ("transaction_id", "event_number"):
        checks.integer(f"after.{name}", getattr(after, name), minimum=0, maximum=NUMBER_MAX)
    checks.raise_if_any()
    count = paging.page_size(request.page_size, default=PAGE_SIZE_DEFAULT)
    place = (after.transaction_id, after.event_number)
    return place if request.HasField("after") else None, count


def _render(rows: Sequence[asyncpg.Record], after: pb.EventCursor) -> pb.ListEventFeedResponse:
    events = [pb.FedEvent(event=render_event(row), cursor=_cursor(row)) for row in rows]
    return pb.ListEventFeedResponse(events=events, next=events[-1].cursor if events else after)


def _cursor(row: asyncpg.Record | None) -> pb.EventCursor:
    if row is None:
        return pb.EventCursor()
    return pb.EventCursor(transaction_id=row["transaction_id"], event_number=row["event_number"])
