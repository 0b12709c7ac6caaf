"""Reservations: one writer that decides batches of calls, one transaction a batch.

Settles, releases and expiries go before the calls that want to start, so that these find the room.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import asyncpg

from chassis import database
from chassis.errors import StoreUnavailable
from headgate.batching import Batcher
from services.admission.batch_store import BatchStore, LockedRows
from services.admission.counters import Counters
from services.admission.domain.bindings import Binding, CounterKey
from services.admission.domain.calls import Denied, Expire, Operation, Outcome, Reserve
from services.admission.domain.ledger import Ledger
from services.admission.domain.limits import Metric
from services.admission.metrics import Metrics
from services.admission.policy import PolicyCopy
from services.admission.shares import Shares
from services.admission.violations import Violations

Connect: TypeAlias = Callable[[], Awaitable[database.Connection]]

# Versions move and periods roll while a batch prepares; more often than this means a bug.
ROUND_COUNT_MAX: Final = 8
# A guess of the database's time that is further off prepared other days than are needed.
GUESS_ERROR_MAX: Final = dt.timedelta(hours=12)
# Holds that one more round ends at the most; the round after it finds the others.
DUE_COUNT_MAX: Final = 256


class Reservations:
    """Takes operations on calls, one by one, and decides them in batches."""

    def __init__(
        self,
        *,
        connect: Connect,
        policy: PolicyCopy,
        counters: Counters,
        shares: Shares,
        violations: Violations,
        metrics: Metrics | None = None,
    ) -> None:
        self._connect = connect
        self._metrics = metrics
        self._policy = policy
        self._counters = counters
        self._shares = shares
        self._violations = violations
        self._store: BatchStore | None = None
        # The database's time at a moment of the loop's clock: a guess of which periods to prepare.
        self._clock_guess: tuple[dt.datetime, float] | None = None
        self._batcher: Batcher[Operation, Outcome] = Batcher(self._decide)

    async def submit(self, operation: Operation, *, deadline: float | None = None) -> Outcome:
        """Returns the outcome of one operation. Raises StoreUnavailable if nothing is known."""
        return await self._batcher.submit(operation, deadline=deadline)

    async def submit_all(
        self, operations: Sequence[Operation], *, deadline: float | None = None
    ) -> list[Outcome | BaseException]:
        """Returns each operation's own outcome or exception, in order."""
        return await self._batcher.submit_all(operations, deadline=deadline)

    async def close(self) -> None:
        """Returns when all operations taken have their outcomes, and closes the connection."""
        await self._batcher.close()
        if self._store is not None:
            await self._store.close()

    async def _decide(self, operations: Sequence[Operation]) -> Sequence[Outcome | Exception]:
        try:
            return await self._retry_once(operations)
        except Exception as error:
            if not database.is_data_error(error):
                raise
            # Only values can be one member's fault: the others are decided without it.
            if len(operations) == 1:
                return [error]
            middle = len(operations) // 2
            return [
                *await self._decide(operations[:middle]),
                *await self._decide(operations[middle:]),
            ]

    async def _retry_once(self, operations: Sequence[Operation]) -> Sequence[Outcome]:
        try:
            return await self._run(operations)
        except Exception as error:
            if not database.is_retryable(error):
                raise
        # The ids make it safe: what the first attempt committed is found and answered again.
        try:
            return await self._run(operations)
        except Exception as error:
            if database.is_retryable(error):
                raise StoreUnavailable from error
            raise

    async def _run(self, operations: Sequence[Operation]) -> list[Outcome]:
        store = await self._usable_store()
        # Holds whose time has passed and that stand in the way of a limit on concurrency.
        due: list[Operation] = []
        for number in range(ROUND_COUNT_MAX):
            guess = await self._prepare(operations, is_first=number == 0)
            try:
                outcomes = await self._round(store, operations, due, guess)
            except BaseException:
                await self._abandon(store)
                raise
            if outcomes is not None:
                self._note(operations, outcomes)
                return outcomes
        raise StoreUnavailable

    async def _prepare(self, operations: Sequence[Operation], *, is_first: bool) -> dt.datetime:
        """Finds what the batch may need before it takes a lock; returns the time it guessed."""
        guess = await self._guess_now()
        for each in operations:
            if isinstance(each, Reserve):
                each.bindings = self._policy.bind(each, guess)
        if is_first:
            await self._counters.ensure(_bindings_of(operations))
        await self._counters.ensure_partitions(
            (each.key.call_id for each in operations if not isinstance(each, Reserve)), guess
        )
        return guess

    async def _round(
        self,
        store: BatchStore,
        operations: Sequence[Operation],
        due: list[Operation],
        guess: dt.datetime,
    ) -> list[Outcome] | None:
        """Decides the batch; None if what was prepared is out of date, with nothing changed."""
        bindings = _bindings_of(operations)
        wanted = {bound.key.counter_id: bound.key for each in bindings for bound in each.bounds}
        limit_set = self._policy.limit_set
        await store.begin()
        locked = await store.lock(limit_set.version, [*due, *operations], wanted)
        if (
            locked is None
            or abs(locked.now - guess) > GUESS_ERROR_MAX
            or not _is_current(locked, wanted, bindings)
        ):
            await store.rollback()
            await self._refresh(locked, wanted, bindings)
            return None
        ledger = Ledger(
            now=locked.now,
            limit_set=limit_set,
            counters=locked.counters,
            counter_sets=locked.counter_sets,
            reservations=locked.reservations,
            shares=self._shares.percents,
        )
        for each in due:
            ledger.apply(each)
        outcomes = _apply_in_order(ledger, operations)
        if any(_is_crowded(outcome) for outcome in outcomes):
            passed = await store.find_due(locked.now, count=DUE_COUNT_MAX)
            if keys := set(passed) - {each.key for each in due}:
                await store.rollback()
                due += [Expire(key) for key in sorted(keys)]
                await self._counters.ensure_partitions((key.call_id for key in keys), locked.now)
                return None
        self._counters.drop_known(ledger.changes.sets)
        await store.commit(ledger.changes, locked.now)
        self._counters.remember(ledger.changes.sets)
        self._shares.learn(ledger.changes.closed.values())
        self._clock_guess = (locked.now, asyncio.get_running_loop().time())
        return outcomes

    def _note(self, operations: Sequence[Operation], outcomes: Sequence[Outcome]) -> None:
        self._violations.note(operations, outcomes)
        if self._metrics is not None:
            self._metrics.record_batch(outcomes)

    async def _refresh(
        self,
        locked: LockedRows | None,
        wanted: Mapping[uuid.UUID, CounterKey],
        bindings: Iterable[Binding],
    ) -> None:
        if locked is None:
            await self._policy.reload()
            return
        missing = [key for each, key in wanted.items() if each not in locked.counters]
        await self._counters.create(missing, bindings)
        self._clock_guess = (locked.now, asyncio.get_running_loop().time())

    async def _guess_now(self) -> dt.datetime:
        loop_time = asyncio.get_running_loop().time()
        if self._clock_guess is None:
            self._clock_guess = (await self._counters.read_clock(), loop_time)
        instant, at = self._clock_guess
        return instant + dt.timedelta(seconds=loop_time - at)

    async def _usable_store(self) -> BatchStore:
        if self._store is None or not self._store.is_usable:
            self._store = await BatchStore.prepare(await self._connect())
        return self._store

    async def _abandon(self, store: BatchStore) -> None:
        """Gives the locks back after a failure; a connection that can't is replaced."""
        try:
            await store.rollback()
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError):
            self._store = None
            store.terminate()


def _bindings_of(operations: Sequence[Operation]) -> Collection[Binding]:
    """Returns what the calls that want to start are bound by, each binding once."""
    found = {
        binding.set_id: binding
        for each in operations
        if isinstance(each, Reserve)
        for binding in each.bindings
    }
    return found.values()


def _apply_in_order(ledger: Ledger, operations: Sequence[Operation]) -> list[Outcome]:
    outcomes: dict[int, Outcome] = {}
    for starting in (False, True):
        for position, operation in enumerate(operations):
            if isinstance(operation, Reserve) is starting:
                outcomes[position] = ledger.apply(operation)
    return [outcomes[position] for position in range(len(operations))]


def _is_current(
    locked: LockedRows, wanted: Mapping[uuid.UUID, CounterKey], bindings: Iterable[Binding]
) -> bool:
    """A missing counter is never taken for zero, and a period is the one at the locks."""
    return wanted.keys() <= locked.counters.keys() and all(
        each.valid_from <= locked.now < each.valid_until for each in bindings
    )


def _is_crowded(outcome: Outcome) -> bool:
    """Tells whether too many open calls denied one; some of them may have passed their time."""
    return isinstance(outcome, Denied) and any(
        each.limit.metric is Metric.CONCURRENCY for each in outcome.violations
    )
