"""Reads accounting's settlement feed, so that crashes heal: the gateway's Settle is only faster.

One replica reads at a time, by a lease. Every booked revision is applied in whatever state the
reservation is; what was applied already is recognised by a read without locks. Applying twice
changes nothing, so the cursor moves after the settlements it passes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import structlog

from chassis import database
from chassis.errors import ServiceError
from headgate.api.accounting.v1 import accounting_pb2
from services.admission import wire
from services.admission.domain.calls import Settle
from services.admission.domain.ids import day_bounds, id_day_of
from services.admission.queries import QUERIES
from services.admission.reservations import Reservations

log = structlog.get_logger()

PAGE_SIZE: Final = 500
# Longer than a page takes; a reader that dies is replaced after it.
LEASE: Final = dt.timedelta(seconds=15)
RPC_TIMEOUT_SECONDS: Final = 5.0


# The RPC of accounting.
ListSettlements: TypeAlias = Callable[..., Awaitable[accounting_pb2.ListSettlementsResponse]]


class SettlementFeed:
    """Applies booked settlements in feed order."""

    def __init__(
        self,
        *,
        pool: database.Pool,
        list_settlements: ListSettlements,
        reservations: Reservations,
        reader: str,
    ) -> None:
        self._pool = pool
        self._list_settlements = list_settlements
        self._reservations = reservations
        self._reader = reader

    async def pull(self) -> int:
        """Applies all that is booked by now; returns how many settlements were news.

        Returns 0 at once if another replica reads.
        """
        applied = 0
        while True:
            cursor = await self._pool.fetchrow(QUERIES.lease_feed.sql, self._reader, LEASE)
            if cursor is None:
                return applied
            page = await self._list_settlements(
                accounting_pb2.ListSettlementsRequest(
                    after=accounting_pb2.FeedCursor(
                        transaction_id=cursor["transaction_id"], row_id=cursor["row_id"]
                    ),
                    page_size=PAGE_SIZE,
                ),
                timeout=RPC_TIMEOUT_SECONDS,
            )
            if not page.settlements:
                return applied
            applied += await self._apply(_parse(page))
            await self._pool.execute(
                QUERIES.advance_feed.sql, self._reader, page.next.transaction_id, page.next.row_id
            )
            if len(page.settlements) < PAGE_SIZE:
                return applied

    async def _apply(self, settlements: list[Settle]) -> int:
        days = [id_day_of(each.key.call_id) for each in settlements]
        rows = await self._pool.fetch(
            QUERIES.select_unsettled.sql,
            [each.key.org for each in settlements],
            [each.key.call_id for each in settlements],
            days,
            [each.revision for each in settlements],
            *day_bounds(days),
        )
        news = [settlements[row["ordinal"] - 1] for row in rows]
        for settlement, outcome in zip(
            news, await self._reservations.submit_all(news), strict=True
        ):
            if not isinstance(outcome, BaseException):
                continue
            if not database.is_data_error(outcome):
                raise outcome
            # One report that can't be applied must not hold back all others; auditors see it.
            log.error("settlement_refused", call_id=str(settlement.key.call_id))
        return len(news)


def _parse(page: accounting_pb2.ListSettlementsResponse) -> list[Settle]:
    settlements = []
    for booked in page.settlements:
        parsed = wire.parse_settle(booked, "settlements.")
        if isinstance(parsed, ServiceError):
            log.error("settlement_invalid", call_id=booked.call_id, error=parsed.message)
        else:
            settlements.append(parsed)
    return settlements
