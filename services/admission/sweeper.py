"""The sweeper: ends holds whose time has passed. Local; asks nobody.

Several replicas may sweep at once, and a job may sweep beside them: each hold is checked again
under its locks, and ends once.
"""

from __future__ import annotations

from typing import Final

from chassis import database
from services.admission.domain.calls import CallKey, Ended, Expire
from services.admission.queries import QUERIES
from services.admission.reservations import Reservations

# Small, so that calls that want to start don't wait long behind a batch of expiries.
SWEEP_SIZE: Final = 64


async def sweep(pool: database.Pool, reservations: Reservations) -> int:
    """Ends every hold that has expired by now; returns how many this call ended."""
    swept = 0
    while rows := await pool.fetch(QUERIES.select_expired.sql, SWEEP_SIZE):
        keys = [CallKey(row["org"], row["call_id"]) for row in rows]
        outcomes = await reservations.submit_all([Expire(key) for key in keys])
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        swept += sum(isinstance(outcome, Ended) for outcome in outcomes)
        if len(rows) < SWEEP_SIZE:
            break
    return swept
