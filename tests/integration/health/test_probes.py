"""Permits to probe, leased by several replicas at once and never lost for good."""

from __future__ import annotations

import asyncio
import uuid

import asyncpg
import pytest

from services.health.breakers import Breakers, ProbeAnswer
from services.health.domain.breakers import (
    BreakerState,
    CallKey,
    Observation,
    ProbeWish,
    Way,
)
from services.health.domain.signals import Signal
from services.health.jobs import prune_probes as job
from services.health.store import Store
from tests.integration.health.replicas import end_open_time, end_permits, execute, fetch
from tests.integration.health.test_breakers import RULES, ended, observe, read, replica


def wish() -> ProbeWish:
    way = Way(provider="openai", model="", credential="")
    return ProbeWish(way=way, call=CallKey(org="acme", call_id=uuid.uuid4()))


async def acquire(breakers: Breakers, *wishes: ProbeWish) -> list[ProbeAnswer]:
    return list(await breakers.acquire(wishes, deadline=None))


async def end_probe(breakers: Breakers, probe: ProbeWish, signal: Signal, *, epoch: int) -> int:
    observation = Observation(way=probe.way, epoch=epoch, signal=signal, call=probe.call)
    return await observe(breakers, observation)


async def open_breaker(breakers: Breakers, url: str) -> None:
    """Leaves it open, and its time over."""
    await observe(breakers, *(ended(Signal.FAILED) for _ in range(5)))
    await end_open_time(url)


async def count_permits(url: str) -> int:
    return len(await fetch(url, "SELECT * FROM circuit_permit"))


async def test_of_64_concurrent_wishes_over_two_replicas_as_many_as_allowed_are_granted(
    store: Store, other_store: Store, url: str
) -> None:
    stores = [store, other_store]
    await open_breaker(replica(store), url)

    # Each in a transaction of its own.
    answers = await asyncio.gather(
        *(acquire(replica(stores[number % 2]), wish()) for number in range(64))
    )

    granted = [answer.granted for [answer] in answers]
    assert sum(granted) == RULES.probe_count_max
    assert {answer.epoch for [answer] in answers} == {2}
    assert await count_permits(url) == RULES.probe_count_max


async def test_an_open_breaker_grants_nothing_before_its_time(store: Store, url: str) -> None:
    breakers = replica(store)
    await observe(breakers, *(ended(Signal.FAILED) for _ in range(5)))

    assert await acquire(breakers, wish()) == [ProbeAnswer(granted=False, epoch=1)]
    assert await count_permits(url) == 0


async def test_a_closed_breaker_and_an_unknown_one_let_all_go_without_a_row(
    store: Store, url: str
) -> None:
    answers = await acquire(replica(store), *(wish() for _ in range(9)))

    assert answers == [ProbeAnswer(granted=True, epoch=0)] * 9
    assert await fetch(url, "SELECT * FROM circuit") == []


async def test_asking_again_for_the_same_call_takes_no_second_place(
    store: Store, other_store: Store, url: str
) -> None:
    first, second = replica(store), replica(other_store)
    await open_breaker(first, url)
    probe = wish()

    answers = [await acquire(each, probe) for each in (first, second, first, second)]

    assert answers == [[ProbeAnswer(granted=True, epoch=2)]] * 4
    assert await count_permits(url) == 1


async def test_probes_that_succeed_on_different_replicas_close_it_together(
    store: Store, other_store: Store, url: str
) -> None:
    first, second = replica(store), replica(other_store)
    await open_breaker(first, url)
    probes = wish(), wish()
    await acquire(first, *probes)

    await end_probe(first, probes[0], Signal.SUCCEEDED, epoch=2)
    assert await read(store) == (BreakerState.HALF_OPEN, 2, 0)
    await end_probe(second, probes[1], Signal.SUCCEEDED, epoch=2)
    assert await read(store) == (BreakerState.CLOSED, 3, 0)
    assert await count_permits(url) == 0


async def test_a_failed_probe_opens_and_the_others_outstanding_still_hold_their_places(
    store: Store, url: str
) -> None:
    breakers = replica(store)
    await open_breaker(breakers, url)
    probes = [wish() for _ in range(3)]
    await acquire(breakers, *probes)
    await end_probe(breakers, probes[0], Signal.FAILED, epoch=2)
    assert await read(store) == (BreakerState.OPEN, 3, 6)
    await end_open_time(url)

    granted = [answer.granted for answer in await acquire(breakers, wish(), wish())]
    late = await end_probe(breakers, probes[1], Signal.SUCCEEDED, epoch=2)

    assert granted == [True, False]
    assert late == 1
    assert await read(store) == (BreakerState.HALF_OPEN, 4, 6)
    assert [answer.granted for answer in await acquire(breakers, wish(), wish())] == [True, False]


@pytest.mark.parametrize("outcome", [Signal.SUCCEEDED, Signal.FAILED])
async def test_an_expired_probe_frees_its_place_and_says_nothing_any_more(
    store: Store, url: str, outcome: Signal
) -> None:
    breakers = replica(store)
    await open_breaker(breakers, url)
    lost = [wish() for _ in range(3)]
    await acquire(breakers, *lost)
    assert await acquire(breakers, wish()) == [ProbeAnswer(granted=False, epoch=2)]
    await end_permits(url)

    stale = await end_probe(breakers, lost[0], outcome, epoch=2)
    answers = await acquire(breakers, *(wish() for _ in range(4)))

    assert stale == 1
    assert [answer.granted for answer in answers] == [True, True, True, False]
    assert await read(store) == (BreakerState.HALF_OPEN, 2, 5)


async def test_an_aborted_probe_gives_its_place_back(store: Store, url: str) -> None:
    breakers = replica(store)
    await open_breaker(breakers, url)
    probes = [wish() for _ in range(3)]
    await acquire(breakers, *probes)

    assert await end_probe(breakers, probes[0], Signal.NEUTRAL, epoch=2) == 0
    assert await acquire(breakers, wish()) == [ProbeAnswer(granted=True, epoch=2)]
    assert await read(store) == (BreakerState.HALF_OPEN, 2, 5)


async def test_pruning_deletes_what_expired_in_batches_and_nothing_else(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    breakers = replica(store)
    await open_breaker(breakers, url)
    await acquire(breakers, *(wish() for _ in range(3)))
    await end_permits(url)
    kept = wish()
    await acquire(breakers, kept)
    monkeypatch.setattr(job, "BATCH_SIZE", 2)

    assert await job.prune_probes(store) == 3
    assert await job.prune_probes(store) == 0
    [permit] = await fetch(url, "SELECT call_id FROM circuit_permit")
    assert permit["call_id"] == kept.call.call_id


async def test_pruning_waits_for_nobody(store: Store, url: str) -> None:
    breakers = replica(store)
    await open_breaker(breakers, url)
    await acquire(breakers, wish(), wish())
    await end_permits(url)
    holder = await asyncpg.connect(url)
    try:
        async with holder.transaction():
            await holder.execute(
                "SELECT * FROM health.circuit_permit ORDER BY call_id LIMIT 1 FOR UPDATE"
            )
            assert await job.prune_probes(store) == 1
    finally:
        await holder.close()
    assert await job.prune_probes(store) == 1


async def test_the_database_refuses_states_that_cannot_be(url: str) -> None:
    await execute(url, "INSERT INTO circuit (provider) VALUES ('openai')")

    for assignment in ("state = 'ajar'", "state = 'open'", "open_until = now()", "epoch = -1"):
        with pytest.raises(asyncpg.CheckViolationError):
            await execute(url, f"UPDATE circuit SET {assignment}")
