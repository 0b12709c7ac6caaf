"""Compares a provider's bill with what is booked, and raises the alarm if they differ."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from chassis.database import Pool
from services.accounting.alerts.register import notice
from services.accounting.books.exports import LAST_TEXT
from services.accounting.domain.alerts import Condition
from services.accounting.domain.bills import BillFormat, match_model, plain_name, read_bill
from services.accounting.domain.events import Event
from services.accounting.domain.reconciliation import Booked, Deviation, Place, compare
from services.accounting.domain.usage_exports import USAGE_FORMATS, read_usage
from services.accounting.prices import Prices
from services.accounting.queries import BOOKS


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """A bill to compare with the books."""

    provider: str
    content: bytes
    kind: BillFormat
    # The org whose bill it is. Empty: the platform's.
    org: str = ""
    # In parts of ten thousand.
    tolerance: int


class Reconciliation:
    """Compares bills. The books stay as they are: what is wrong there is corrected by people."""

    def __init__(self, pool: Pool, prices: Prices) -> None:
        self._pool = pool
        self._prices = prices

    async def compare(self, bill: Bill) -> tuple[list[Deviation], Deviation]:
        """Returns the comparison by day and model, and over the whole bill.

        If the whole differs by more than the tolerance, that is an alert. Raises BadBillError.
        """
        lines = await self._read(bill)
        days = sorted(day for (day, _), _ in lines)
        rows = await self._pool.fetch(
            BOOKS.list_booked_days.sql,
            *(days[0], days[-1], bill.provider, bill.org, bill.org or LAST_TEXT),
        )
        booked: dict[Place, Booked] = {
            (row["day"], row["model"]): Booked(
                cost_nanos=int(row["cost_nanos"]),
                unreported_nanos=int(row["unreported_cost_nanos"]),
            )
            for row in rows
        }
        models = {model for _, model in booked}
        named = [((day, match_model(model, models)), nanos) for (day, model), nanos in lines]
        deviations, total = compare(named, booked, tolerance=bill.tolerance)
        if total.exceeds:
            await self._tell(bill, total, first=str(days[0]), last=str(days[-1]))
        return deviations, total

    async def _read(self, bill: Bill) -> list[tuple[Place, int]]:
        """Returns the bill by day and model; counts are priced as they were effective then."""
        if bill.kind not in USAGE_FORMATS:
            return read_bill(bill.content, bill.kind)
        usage = read_usage(bill.content, bill.kind)
        book = await self._prices.read_whole()
        priced = []
        for line in usage:
            day, model = line.place
            noon = dt.datetime.combine(day, dt.time(12), dt.UTC)
            found = [
                book.price_effective(noon, provider=bill.provider, model=name, org=bill.org)
                for name in (model, plain_name(model))
            ]
            priced.append((line.place, line.cost_nanos(found[0] or found[1])))
        return priced

    async def _tell(self, bill: Bill, total: Deviation, *, first: str, last: str) -> None:
        event = Event(
            type="bill.deviates",
            org=bill.org,
            subject=f"bill/{bill.provider}",
            title=f"The bill of {bill.provider} from {first} to {last} differs from the books.",
            data={
                "provider": bill.provider,
                "first_day": first,
                "last_day": last,
                "billed_nanos": total.billed_nanos,
                "booked_nanos": total.booked_nanos,
                "difference_nanos": total.difference_nanos,
            },
        )
        key = f"bill/{bill.org}/{bill.provider}/{first}/{last}"
        async with self._pool.acquire() as connection, connection.transaction():
            await notice(connection, Condition(key=key, event=event))
