"""Prices the past again, a page at a time: what changes is a new revision of its call."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import asyncpg

from chassis.database import Pool
from chassis.errors import FailedPrecondition
from services.accounting.domain.meters import METER_FIELDS, MeterCounts
from services.accounting.domain.pricebook import PriceBook
from services.accounting.domain.pricing import charge
from services.accounting.domain.usage import Charge, CostBasis, Outcome
from services.accounting.prices import Prices
from services.accounting.queries import BOOKS
from services.accounting.store import VALUE_COUNT_MAX

# Calls that are corrected in one transaction.
PART_SIZE: Final = 500
_NIL: Final = uuid.UUID(int=0)
_DAY: Final = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Which calls to price again. Empty texts leave nothing out."""

    start: dt.datetime
    end: dt.datetime
    org: str
    provider: str
    model: str


@dataclass(frozen=True, slots=True)
class Place:
    """A call after which to go on. The calls of a day come by org and id, the days in order."""

    admit_time: dt.datetime
    org: str = ""
    call_id: uuid.UUID = _NIL

    def next_day(self) -> Place:
        """Returns the place before all calls of the next day."""
        day = self.admit_time.astimezone(dt.UTC).date()
        return Place(dt.datetime.combine(day, dt.time(), dt.UTC) + _DAY)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What somebody wants priced again, from where on, and how much of it now."""

    scope: Scope
    # None: from the beginning.
    after: Place | None
    count: int
    # None: a dry run. Else it is applied only if the book is at this version.
    expected_version: int | None
    audit_id: str


@dataclass(slots=True, kw_only=True)
class Page:
    """What was looked at, by provider and model."""

    version: int
    models: dict[tuple[str, str], Repriced] = field(default_factory=dict)
    # Where the next page starts. None: all is looked at.
    next: Place | None = None


class Repricing:
    """Prices calls by what was effective when they were admitted."""

    def __init__(self, pool: Pool, prices: Prices) -> None:
        self._pool = pool
        self._prices = prices

    async def reprice(self, order: Order, *, until: float) -> Page:
        """Prices a page of calls; ends early once it is `until`, in loop time.

        A dry run changes nothing. Applied twice, the second time changes nothing. Raises
        FailedPrecondition if the book is not at the expected version any more.
        """
        book = await self._prices.read_whole()
        if order.expected_version not in (None, book.version):
            raise FailedPrecondition(
                f"the price book is at version {book.version}; look at a new dry run first",
                "PRICE_VERSION_CHANGED",
                version=str(book.version),
            )
        page = Page(version=book.version)
        place: Place | None = order.after or Place(order.scope.start)
        left = order.count
        while place is not None:
            rows = await self._read(order.scope, place, min(PART_SIZE, left))
            changes = _price_part(rows, book, page.models)
            if order.expected_version is not None and changes:
                await self._correct(changes, book.version, order.audit_id)
            place = _advance(place, rows, min(PART_SIZE, left), order.scope.end)
            left -= len(rows)
            if left <= 0 or asyncio.get_running_loop().time() >= until:
                break
        page.next = place
        return page

    async def _read(self, scope: Scope, place: Place, count: int) -> Sequence[asyncpg.Record]:
        """Returns the next calls of the place's day."""
        return await self._pool.fetch(
            BOOKS.list_priced_calls.sql,
            max(scope.start, place.next_day().admit_time - _DAY),
            min(scope.end, place.next_day().admit_time),
            *(scope.org, scope.provider, scope.model),
            *(place.admit_time, place.org, place.call_id),
            count,
        )

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


def _advance(
    place: Place, rows: Sequence[asyncpg.Record], count: int, end: dt.datetime
) -> Place | None:
    """Returns the place after some rows of a day: within it, at the next, or None at the end."""
    if len(rows) == count:
        last = rows[-1]
        return Place(last["admit_time"], last["org"], last["call_id"])
    following = place.next_day()
    return following if following.admit_time < end else None


def _price_part(
    rows: Sequence[asyncpg.Record], book: PriceBook, models: dict[tuple[str, str], Repriced]
) -> list[tuple[asyncpg.Record, Charge]]:
    changes: list[tuple[asyncpg.Record, Charge]] = []
    for row in rows:
        meters = MeterCounts(*(row[each] for each in METER_FIELDS))
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
