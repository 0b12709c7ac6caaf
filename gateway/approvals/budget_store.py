"""The SQL of budget increases. Each function runs the query of its name, or says which."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import asyncpg

from gateway.approvals.store import Reader
from gateway.domain.approvals import State, state_of
from gateway.store import Store, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Increase:
    """More room under a limit, asked for."""

    increase_id: str
    # Empty: the platform.
    org: str
    limit_id: str
    # Number of the contract's; gives the amount's unit.
    metric: int
    amount: int
    end_time: dt.datetime
    reason: str
    requester: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredIncrease:
    """A request, and what became of it by the database's clock."""

    increase: Increase
    position: int
    create_time: dt.datetime
    state: State
    # None: nobody decided.
    decide_time: dt.datetime | None
    decider: str
    decision_reason: str

    @property
    def boost_limit_id(self) -> str:
        """The limit that gives the room."""
        return f"boost-{self.increase.increase_id}"


async def insert_increase(on: Transaction, wanted: Increase) -> bool:
    """Asks for more room. False: it was asked for already, or its end is out of bounds."""
    row = await on.row(
        "insert_increase",
        *(wanted.increase_id, wanted.org, wanted.limit_id, wanted.metric, wanted.amount),
        *(wanted.end_time, wanted.reason, wanted.requester),
    )
    return row is not None


async def fetch_increase(on: Reader, increase_id: str) -> StoredIncrease | None:
    """Returns a request."""
    row = await on.row("fetch_increase", increase_id)
    return None if row is None else _read(row)


async def begin_decision(on: Transaction, increase_id: str) -> StoredIncrease | None:
    """Queues behind other decisions on a request and returns it; runs `lock_increase` first."""
    await on.value("lock_increase", increase_id)
    return await fetch_increase(on, increase_id)


async def decide_increase(
    on: Transaction, increase_id: str, *, approved: bool, decider: str, reason: str
) -> None:
    """Writes a decision down; `begin_decision` has looked whether it may be made."""
    await on.value("decide_increase", increase_id, approved, decider, reason)


async def list_increases(
    store: Store, *, below: int, count_max: int, org: str, state: int
) -> list[StoredIncrease]:
    """Returns requests, newest first; state 0: in any."""
    return [_read(row) for row in await store.rows("list_increases", below, count_max, org, state)]


def _read(row: asyncpg.Record) -> StoredIncrease:
    return StoredIncrease(
        increase=Increase(
            increase_id=str(row["increase_id"]),
            org=row["org"],
            limit_id=row["limit_id"],
            metric=row["metric"],
            amount=row["amount"],
            end_time=row["end_time"],
            reason=row["reason"],
            requester=row["requester"],
        ),
        position=row["position"],
        create_time=row["create_time"],
        state=state_of(row["approved"], is_over=row["is_over"]),
        decide_time=row["decide_time"],
        decider=row["decider"],
        decision_reason=row["decision_reason"],
    )
