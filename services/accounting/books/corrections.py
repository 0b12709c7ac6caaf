"""Corrects what is booked: every change is a new revision of a call, never an edit."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final

import asyncpg

from chassis.database import Pool
from chassis.errors import FailedPrecondition, FieldViolation, InvalidArgument, NotFound
from services.accounting.domain.meters import METER_FIELDS, MeterCounts
from services.accounting.domain.pricebook import PriceBook
from services.accounting.domain.pricing import charge
from services.accounting.domain.usage import AMOUNT_MAX, Charge, CostBasis, Outcome
from services.accounting.prices import Prices
from services.accounting.queries import BOOKS, QUERIES
from services.accounting.store import VALUE_COUNT_MAX

# Calls that are corrected in one transaction.
PAGE_SIZE: Final = 500
_BEGINNING: Final = ("", uuid.UUID(int=0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which calls to price again. Empty texts leave nothing out."""

    start: dt.datetime
    end: dt.datetime
    org: str
    provider: str
    model: str


@dataclass(slots=True, kw_only=True)
class Repriced:
    """Sums over the calls of one model that were looked at."""

    call_count: int = 0
    changed_count: int = 0
    unpriced_count: int = 0
    before_nanos: int = 0
    after_nanos: int = 0

    def add(self, before_nanos: int, charged: Charge, *, changed: bool) -> None:
        """Adds one call."""
        self.call_count += 1
        self.changed_count += changed
        self.unpriced_count += charged.unpriced
        self.before_nanos += before_nanos
        self.after_nanos += charged.total_nanos


class Corrections:
    """Credits, debits, and pricing the past again."""

    def __init__(self, pool: Pool, prices: Prices) -> None:
        self._pool = pool
        self._prices = prices

    async def adjust(
        self, *, org: str, call_id: uuid.UUID, delta_nanos: int, note: str, audit_id: str
    ) -> tuple[int, int]:
        """Adds to a call's total; returns the total and its revision.

        Safe to repeat with the same audit id. Raises NotFound for a call that is not booked, or
        whose day has been dropped, InvalidArgument if the total would be negative or too great.
        """
        while True:
            done = await self._pool.fetchrow(BOOKS.find_correction.sql, org, call_id, audit_id)
            if done is not None:
                return done["total_nanos"], done["revision"]
            known = await self._pool.fetchrow(BOOKS.find_call.sql, org, call_id)
            if known is None:
                raise NotFound("call", str(call_id))
            total = known["total_nanos"] + delta_nanos
            if not 0 <= total <= AMOUNT_MAX:
                bounds = f"would make the total {total}; it must be from 0 to {AMOUNT_MAX}"
                raise InvalidArgument([FieldViolation("delta_nanos", bounds)])
            async with self._pool.acquire() as connection, connection.transaction():
                corrected = await connection.fetchval(
                    BOOKS.correct_usage.sql,
                    *([org], [call_id], [known["admit_time"]], [known["revision"]], [total]),
                    *([CostBasis.STATED.value], [known["price_version"]], note, audit_id),
                    VALUE_COUNT_MAX,
                )
                if corrected:
                    target = f"usage/{org}/{call_id}"
                    totals = (_total_json(known["total_nanos"]), _total_json(total))
                    await connection.execute(QUERIES.insert_order.sql, audit_id, target, *totals)
                    return total, known["revision"] + 1
            # Somebody else corrected it meanwhile: look again.

    async def reprice(
        self, scope: Scope, *, apply: bool, expected_version: int, audit_id: str
    ) -> tuple[dict[tuple[str, str], Repriced], int]:
        """Prices calls by what was effective when they were admitted; returns sums and version.

        Without `apply` nothing changes. Applied twice, the second time changes nothing. Raises
        FailedPrecondition if the book is not at the expected version any more.
        """
        book = await self._prices.read_whole()
        if apply and book.version != expected_version:
            raise FailedPrecondition(
                f"the price book is at version {book.version}; look at a new dry run first",
                "PRICE_VERSION_CHANGED",
                version=str(book.version),
            )
        models: dict[tuple[str, str], Repriced] = {}
        async for page in self._pages(scope):
            changes = _price_page(page, book, models)
            if apply and changes:
                await self._correct(changes, book.version, audit_id)
        return models, book.version

    async def _pages(self, scope: Scope) -> AsyncIterator[Sequence[asyncpg.Record]]:
        after = (scope.start - dt.timedelta(microseconds=1), *_BEGINNING)
        while True:
            rows = await self._pool.fetch(
                BOOKS.list_priced_calls.sql,
                *(scope.start, scope.end, scope.org, scope.provider, scope.model),
                *after,
                PAGE_SIZE,
            )
            yield rows
            if len(rows) < PAGE_SIZE:
                return
            last = rows[-1]
            after = (last["admit_time"], last["org"], last["call_id"])

    async def _correct(
        self, changes: Sequence[tuple[asyncpg.Record, Charge]], version: int, audit_id: str
    ) -> None:
        await self._pool.fetchval(
            BOOKS.correct_usage.sql,
            [row["org"] for row, _ in changes],
            [row["call_id"] for row, _ in changes],
            [row["admit_time"] for row, _ in changes],
            [row["revision"] for row, _ in changes],
            [charged.total_nanos for _, charged in changes],
            [charged.basis.value for _, charged in changes],
            [version] * len(changes),
            *("repriced", audit_id, VALUE_COUNT_MAX),
        )


def _total_json(total_nanos: int) -> str:
    return json.dumps({"total_nanos": total_nanos})


def _price_page(
    rows: Sequence[asyncpg.Record], book: PriceBook, models: dict[tuple[str, str], Repriced]
) -> list[tuple[asyncpg.Record, Charge]]:
    changes: list[tuple[asyncpg.Record, Charge]] = []
    for row in rows:
        meters = MeterCounts(*(row[field] for field in METER_FIELDS))
        if not meters.reported:
            continue
        admit_time = row["admit_time"]
        price = book.price_effective(
            admit_time,
            provider=row["provider"],
            model=row["model"],
            org=row["org"],
            operation=row["operation"],
        )
        charged = charge(
            price,
            outcome=Outcome(row["outcome"]),
            meters=meters,
            held_nanos=row["held_nanos"],
            service_tier=row["service_tier"] or "",
            minute=admit_time.hour * 60 + admit_time.minute,
        )
        if charged.unpriced:
            # Nothing is known better than before.
            charged = Charge(row["total_nanos"], CostBasis(row["cost_basis"]), unpriced=True)
        booked = (row["total_nanos"], row["cost_basis"])
        changed = (charged.total_nanos, charged.basis.value) != booked
        sums = models.setdefault((row["provider"], row["model"]), Repriced())
        sums.add(row["total_nanos"], charged, changed=changed)
        if changed:
            changes.append((row, charged))
    return changes
