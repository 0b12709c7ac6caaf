"""No cap is overspent and none is left unused, by 64 clients over 2 gateways and 2 admissions."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import asyncpg
import pytest

from headgate.api.common.v1 import denial_pb2
from tests.guarantees.callers import HELD_NANOS, USED_NANOS, Callers, books, find_differences

CLIENT_COUNT = 64
CALLS_PER_CLIENT = 12
FITTING = 317

pytestmark = pytest.mark.asyncio(loop_scope="package")


@contextlib.asynccontextmanager
async def sampled(callers: Callers) -> AsyncIterator[list[int]]:
    """Audits the books all the while; yields the held sums that it saw."""
    stop, seen = asyncio.Event(), list[int]()

    async def sample(connection: asyncpg.Connection[asyncpg.Record]) -> None:
        query = "SELECT coalesce(sum(held), 0)::bigint FROM counter WHERE org = $1 AND metric = 2"
        while not stop.is_set():
            assert await find_differences(connection) == []
            seen.append(await connection.fetchval(query, callers.org))

    async with books(callers.system) as connection:
        sampling = asyncio.create_task(sample(connection))
        try:
            yield seen
        finally:
            stop.set()
            await sampling


async def test_exactly_as_many_equal_calls_as_fit_are_admitted(callers: Callers) -> None:
    await callers.cap(FITTING * HELD_NANOS + HELD_NANOS - 1)

    async def client() -> None:
        for _ in range(CALLS_PER_CLIENT):
            await callers.admit()

    async with sampled(callers) as seen:
        await asyncio.gather(*(client() for _ in range(CLIENT_COUNT)))

    assert len(callers.promises.admitted) == FITTING
    assert len(callers.promises.denied) == CLIENT_COUNT * CALLS_PER_CLIENT - FITTING
    assert len(seen) > 2
    for decision in callers.promises.denied.values():
        assert decision.denial.reason == denial_pb2.DENIAL_REASON_BUDGET_EXCEEDED
        assert {each.limit_id for each in decision.denial.violations} == {f"{callers.org}-day"}


async def test_what_calls_leave_over_is_used_to_the_last_nano(callers: Callers) -> None:
    """Settled at less than held, the room comes back, until not even one more hold fits."""
    cap = 40 * HELD_NANOS
    await callers.cap(cap)

    async def client() -> None:
        while (decision := await callers.admit()).HasField("admission"):
            await callers.complete(decision.admission)

    async with sampled(callers):
        await asyncio.gather(*(client() for _ in range(CLIENT_COUNT)))
        # Clients may have stopped while others held what they then gave back.
        await client()

    used = len(callers.promises.booked) * USED_NANOS
    assert cap - HELD_NANOS < used <= cap
    assert {receipt.total_nanos for receipt in callers.promises.booked.values()} == {USED_NANOS}
