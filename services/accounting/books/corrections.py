"""Corrects what is booked: every change is a new revision of a call, never an edit."""

from __future__ import annotations

import json
import uuid

from chassis.database import Pool
from chassis.errors import FieldViolation, InvalidArgument, NotFound
from services.accounting.domain.usage import AMOUNT_MAX, CostBasis
from services.accounting.queries import BOOKS, QUERIES
from services.accounting.store import VALUE_COUNT_MAX


class Corrections:
    """Credits and debits."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

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


def _total_json(total_nanos: int) -> str:
    return json.dumps({"total_nanos": total_nanos})
