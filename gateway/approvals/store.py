"""The SQL of requests for leave. Each function runs the query of its name, or says which."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import asyncpg

from gateway.domain.approvals import Approval, Need, state_of
from gateway.domain.calls import Call, Candidate
from gateway.store import Store, Transaction

# Requests of one org that wait for people at once: more are a program that runs away.
PENDING_COUNT_MAX: Final = 1_000
# A leave may be used for so long, however late it was given.
USE_SECONDS_MIN: Final = 900.0

Reader: TypeAlias = Store | Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What people are asked."""

    call: Call
    subject: bytes
    summary: str
    need: Need
    candidates: tuple[Candidate, ...]
    cost_nanos_max: int
    dimensions: Mapping[str, str]
    lifetime_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Untold:
    """A request of which events do not tell all."""

    approval: Approval
    request_due: bool
    decision_due: bool


async def insert_approval(on: Transaction, wanted: Wanted) -> None:
    """Asks people, unless the call is asked about already."""
    call = wanted.call
    await on.value(
        "insert_approval",
        *(call.org, call.call_id, call.operation, call.api_key_id),
        wanted.subject,
        wanted.summary,
        wanted.need.value,
        [each.provider for each in wanted.candidates],
        [each.model for each in wanted.candidates],
        wanted.cost_nanos_max,
        json.dumps(dict(wanted.dimensions)),
        wanted.lifetime_seconds,
    )


async def count_pending_approvals(on: Transaction, org: str) -> int:
    """Returns how many requests of an org wait for people."""
    return int(await on.value("count_pending_approvals", org))


async def fetch_approvals(store: Store, approval_ids: Sequence[str]) -> list[Approval]:
    """Returns the requests that there are."""
    return [_read(row) for row in await store.rows("fetch_approvals", approval_ids, None, None)]


async def fetch_approval(on: Reader, approval_id: str) -> Approval | None:
    """Returns a request, from `fetch_approvals`."""
    row = await on.row("fetch_approvals", [approval_id], None, None)
    return None if row is None else _read(row)


async def fetch_approval_of_call(on: Reader, org: str, call_id: str) -> Approval | None:
    """Returns the request about a call, from `fetch_approvals`."""
    row = await on.row("fetch_approvals", [], org, call_id)
    return None if row is None else _read(row)


async def list_approvals(
    store: Store, *, below: int, count_max: int, org: str, operation: str, state: int
) -> list[Approval]:
    """Returns requests, newest first; state 0: in any."""
    rows = await store.rows("list_approvals", below, count_max, org, operation, state)
    return [_read(row) for row in rows]


async def decide_approval(
    on: Transaction, approval_id: str, *, approved: bool, decider: str, reason: str
) -> None:
    """Writes a decision down; `begin_decision` has looked whether it may be made."""
    values = (approval_id, approved, decider, reason, USE_SECONDS_MIN)
    await on.one("decide_approval", *values)


async def begin_decision(on: Transaction, approval_id: str) -> Approval | None:
    """Queues behind other decisions on a request and returns it; runs `lock_approval` first."""
    await on.value("lock_approval", approval_id)
    return await fetch_approval(on, approval_id)


async def add_approval_attempt(
    store: Store, approval_id: str, call_id: str, *, excluded_count: int
) -> bool:
    """Notes an attempt that takes the call's place. False: there were as many as may be."""
    values = (approval_id, call_id, excluded_count)
    return await store.value("add_approval_attempt", *values) is not None


async def list_untold_approvals(store: Store) -> list[Untold]:
    """Returns what no event tells of yet, oldest first; runs `fetch_approvals` too."""
    rows = await store.rows("list_untold_approvals")
    found = await fetch_approvals(store, [str(row["approval_id"]) for row in rows])
    approvals = {each.approval_id: each for each in found}
    return [
        Untold(
            approval=approvals[str(row["approval_id"])],
            request_due=row["request_due"],
            decision_due=row["decision_due"],
        )
        for row in rows
    ]


async def note_told_approval(
    store: Store, approval_id: str, *, request: bool, decision: bool
) -> None:
    """Notes that events tell of a request, or of the decision."""
    await store.value("note_told_approval", approval_id, request, decision)


def _read(row: asyncpg.Record) -> Approval:
    pairs = zip(row["providers"], row["models"], strict=True)
    return Approval(
        approval_id=str(row["approval_id"]),
        position=row["position"],
        org=row["org"],
        call_id=str(row["call_id"]),
        operation=row["operation"],
        requester=row["requester"],
        subject=row["subject"],
        summary=row["summary"],
        need=Need(row["need"]),
        candidates=tuple(Candidate(provider=provider, model=model) for provider, model in pairs),
        cost_nanos_max=row["cost_nanos_max"],
        dimensions=json.loads(row["dimensions"]),
        state=state_of(row["approved"], is_over=row["is_over"]),
        is_over=row["is_over"],
        create_time=row["create_time"],
        expire_time=row["expire_time"],
        decide_time=row["decide_time"],
        decider=row["decider"],
        reason=row["reason"],
        attempt_ids=tuple(map(str, row["attempt_ids"])),
    )
