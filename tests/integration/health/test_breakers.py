"""Outcomes from several replicas at once, over rows that they share."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

import asyncpg
import pytest

from headgate.batching import BatcherClosedError
from services.health.breakers import Breakers
from services.health.circuit_store import Decision, LostUpdateError, Situations, T
from services.health.domain.breakers import (
    Breaker,
    BreakerChange,
    BreakerState,
    CallKey,
    Change,
    Key,
    Observation,
    Way,
)
from services.health.domain.kills import ChangeNote
from services.health.domain.rules import BreakerRules
from services.health.domain.signals import Signal
from services.health.store import Store
from tests.integration.health.replicas import execute, fetch
from tests.unit.health.values import SECOND

RULES: Final = BreakerRules(
    failure_threshold=5,
    open_duration=60 * SECOND,
    probe_count_max=3,
    probe_success_threshold=2,
    probe_duration=600 * SECOND,
    jitter=0.0,
)


def replica(
    store: Store,
    *,
    rules: BreakerRules = RULES,
    count_stale: Callable[[int], None] = lambda _: None,
) -> Breakers:
    return Breakers(store, rules, count_stale=count_stale)


# By turns: the failures of one org alone open nothing for others.
ORGS: Final = itertools.cycle(("acme", "globex", "initech"))


def ended(
    signal: Signal, *, provider: str = "openai", epoch: int = 0, org: str = ""
) -> Observation:
    """The end of a call that says something of its provider only."""
    call = CallKey(org=org or next(ORGS), call_id=uuid.uuid4())
    way = Way(provider=provider, model="", credential="")
    return Observation(way=way, epoch=epoch, signal=signal, call=call)


async def observe(breakers: Breakers, *observations: Observation) -> int:
    return await breakers.observe(observations, deadline=None)


async def read(store: Store, provider: str = "openai") -> tuple[BreakerState, int, int]:
    key = Key(provider=provider)
    breaker = (await store.read_situations([key]))[provider].breakers[key]
    return breaker.state, breaker.epoch, breaker.failure_count


async def observe_at_once(stores: list[Store], *, rules: BreakerRules = RULES) -> list[int]:
    """Sends 64 failures, each in a transaction of its own, to a provider that has a row."""
    await observe(replica(stores[0]), ended(Signal.SUCCEEDED))
    return await asyncio.gather(
        *(
            observe(replica(stores[number % len(stores)], rules=rules), ended(Signal.FAILED))
            for number in range(64)
        )
    )


async def test_of_64_concurrent_failures_over_two_replicas_the_fifth_opens(
    store: Store, other_store: Store
) -> None:
    stale = await observe_at_once([store, other_store])

    assert await read(store) == (BreakerState.OPEN, 1, 5)
    assert sorted(stale) == [0] * 5 + [1] * 59


async def test_no_failure_is_lost_among_64_concurrent_ones(
    store: Store, other_store: Store
) -> None:
    patient = replace(RULES, failure_threshold=1000)

    stale = await observe_at_once([store, other_store], rules=patient)

    assert await read(store) == (BreakerState.CLOSED, 0, 64)
    assert stale == [0] * 64


async def test_two_batches_for_a_provider_without_a_row_count_together(
    store: Store, other_store: Store
) -> None:
    replicas = [replica(store), replica(other_store)]

    stale = await asyncio.gather(
        *(observe(replicas[number % 2], ended(Signal.FAILED)) for number in range(64))
    )

    assert await read(store) == (BreakerState.OPEN, 1, 5)
    assert sum(stale) == 59


async def test_failures_count_over_replicas_and_the_fourth_does_not_open(
    store: Store, other_store: Store
) -> None:
    replicas = [replica(store), replica(other_store)]
    seen = []
    for number in range(5):
        await observe(replicas[number % 2], ended(Signal.FAILED))
        seen.append(await read(store))

    assert seen == [
        (BreakerState.CLOSED, 0, 1),
        (BreakerState.CLOSED, 0, 2),
        (BreakerState.CLOSED, 0, 3),
        (BreakerState.CLOSED, 0, 4),
        (BreakerState.OPEN, 1, 5),
    ]


async def test_a_success_on_another_replica_ends_the_row_of_failures(
    store: Store, other_store: Store
) -> None:
    first, second = replica(store), replica(other_store)
    await observe(first, *(ended(Signal.FAILED) for _ in range(4)))
    await observe(second, ended(Signal.SUCCEEDED))
    await observe(first, *(ended(Signal.FAILED) for _ in range(4)))

    assert await read(store) == (BreakerState.CLOSED, 0, 4)


async def test_outcomes_of_another_epoch_change_nothing_and_are_counted(store: Store) -> None:
    counted: list[int] = []
    breakers = replica(store, count_stale=counted.append)
    await observe(breakers, *(ended(Signal.FAILED) for _ in range(5)))

    late = [ended(Signal.SUCCEEDED, epoch=0), ended(Signal.FAILED, epoch=2)]
    assert await observe(breakers, *late) == 2
    assert await read(store) == (BreakerState.OPEN, 1, 5)
    assert sum(counted) == 2


async def test_providers_of_one_batch_are_judged_by_themselves(store: Store) -> None:
    breakers = replica(store)
    failures = [
        ended(Signal.FAILED, provider=provider)
        for _ in range(5)
        for provider in ("openai", "mistral")
    ]

    assert await observe(breakers, *failures, ended(Signal.FAILED, provider="google")) == 0
    assert await read(store, "openai") == (BreakerState.OPEN, 1, 5)
    assert await read(store, "mistral") == (BreakerState.OPEN, 1, 5)
    assert await read(store, "google") == (BreakerState.CLOSED, 0, 1)


async def test_batches_that_lock_the_same_providers_the_other_way_round_do_not_deadlock(
    store: Store, other_store: Store
) -> None:
    there, back = ["a", "b", "c", "d"], ["d", "c", "b", "a"]
    replicas = [(replica(store), there), (replica(other_store), back)]

    await asyncio.gather(
        *(
            observe(breakers, *(ended(Signal.FAILED, provider=name) for name in names))
            for _ in range(20)
            for breakers, names in replicas
        )
    )

    assert {await read(store, name) for name in there} == {(BreakerState.OPEN, 1, 5)}


async def test_a_healthy_provider_s_success_waits_for_nobody_s_lock(
    store: Store, url: str
) -> None:
    breakers = replica(store)
    await observe(breakers, ended(Signal.SUCCEEDED))
    await execute(url, "UPDATE circuit SET success_time = now() + interval '1 hour'")
    holder = await asyncpg.connect(url)
    try:
        async with holder.transaction():
            await holder.execute("SELECT * FROM health.circuit FOR UPDATE")
            await observe(breakers, ended(Signal.SUCCEEDED))
    finally:
        await holder.close()


class UnluckyStore(Store):
    """Is rolled back as often as it is told, as if a deadlock had been ended at its cost."""

    rollback_count = 0

    async def change_breakers(
        self,
        keys: Iterable[Key],
        decide: Callable[[Situations], Decision[T]],
        *,
        note: ChangeNote | None = None,
    ) -> T:
        def decide_and_fail(situations: Situations) -> Decision[T]:
            decided = decide(situations)
            if self.rollback_count:
                self.rollback_count -= 1
                raise asyncpg.DeadlockDetectedError("deadlock detected")
            return decided

        return await super().change_breakers(keys, decide_and_fail, note=note)


@pytest.mark.parametrize(("rollback_count", "failure_count"), [(1, 1), (2, 0)])
async def test_a_batch_that_was_rolled_back_is_repeated_once_and_counts_once(
    store: Store, rollback_count: int, failure_count: int
) -> None:
    unlucky = UnluckyStore(store._pool)
    unlucky.rollback_count = rollback_count
    breakers = replica(unlucky)

    if failure_count:
        assert await observe(breakers, ended(Signal.FAILED)) == 0
    else:
        with pytest.raises(asyncpg.DeadlockDetectedError):
            await observe(breakers, ended(Signal.FAILED))

    assert await read(store) == (BreakerState.CLOSED, 0, failure_count)


async def test_a_write_that_missed_its_epoch_is_noticed_and_undoes_the_rest(
    store: Store, url: str
) -> None:
    google, openai = Key(provider="google"), Key(provider="openai")

    def change_of(before: Breaker) -> Change:
        change = BreakerChange(before=before, after=replace(before, failure_count=1))
        return Change(provider=before.key.provider, breakers=(change,))

    def decide(situations: Situations) -> tuple[None, list[Change]]:
        right = situations["google"].breakers[google]
        wrong = replace(situations["openai"].breakers[openai], epoch=7)
        return None, [change_of(right), change_of(wrong)]

    with pytest.raises(LostUpdateError, match="openai"):
        await store.change_breakers([google, openai], decide)

    assert await fetch(url, "SELECT * FROM circuit") == []


async def test_a_closed_use_case_answers_what_it_took_and_takes_no_more(store: Store) -> None:
    breakers = replica(store)
    taken = asyncio.ensure_future(observe(breakers, ended(Signal.FAILED)))
    await asyncio.sleep(0)
    await breakers.close()

    assert await taken == 0
    with pytest.raises(BatcherClosedError):
        await observe(breakers, ended(Signal.FAILED))
