"""Rates over several replicas, the figures that people see, and how little health writes."""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import replace
from typing import Final

import pytest

from services.health.breakers import Breakers
from services.health.domain import states
from services.health.domain.breakers import BreakerState, CallKey, Key, Observation, Way
from services.health.domain.signals import Signal
from services.health.store import Store
from services.health.tallies import WRITE_SECONDS, Tallies
from tests.integration.health.replicas import execute, fetch
from tests.integration.health.test_breakers import RULES, read

PATIENT: Final = replace(RULES, failure_threshold=1_000)
OPENAI: Final = Key(provider="openai")


class Replica:
    """Breakers and tallies over one store, with a clock that the test moves."""

    def __init__(self, store: Store) -> None:
        self.time = 1_000.0
        self.tallies = Tallies(store, PATIENT, now=lambda: self.time)
        self.breakers = Breakers(
            store, PATIENT, count_stale=lambda _: None, heard=self.tallies.count
        )

    async def see(self, *signals: Signal, org: str, milliseconds: int = 100) -> None:
        way = Way(provider="openai", model="gpt-4o", credential=org)
        latency = dt.timedelta(milliseconds=milliseconds)
        await self.breakers.observe(
            [
                Observation(
                    way=way,
                    epoch=0,
                    signal=signal,
                    call=CallKey(org=org, call_id=uuid.uuid4()),
                    latency=latency,
                )
                for signal in signals
            ],
            deadline=None,
        )


GOOD, BAD = Signal.SUCCEEDED, Signal.FAILED


async def test_half_of_the_calls_of_two_replicas_open_it(store: Store, other_store: Store) -> None:
    first, second = Replica(store), Replica(other_store)
    await first.see(*[GOOD, BAD] * 5, org="acme")
    await second.see(*[GOOD, BAD] * 5, org="globex")

    await first.tallies.flush()
    assert (await read(store))[0] is BreakerState.CLOSED
    await second.tallies.flush()

    assert (await read(store))[0] is BreakerState.OPEN
    causes = await store.list_moves(provider="openai", before=1_000, count_max=10)
    assert {(move.key.model, move.cause.value) for move in causes} == {
        ("", "failure-rate"),
        ("gpt-4o", "failure-rate"),
    }


async def test_slow_calls_open_it(store: Store) -> None:
    replica = Replica(store)
    for org in ("acme", "globex"):
        await replica.see(*[GOOD] * 10, org=org, milliseconds=60_000)
    await replica.tallies.flush()

    assert (await read(store))[0] is BreakerState.OPEN


async def test_one_org_s_calls_open_nothing_for_others(store: Store) -> None:
    replica = Replica(store)
    await replica.see(*[GOOD, BAD] * 50, org="acme")
    await replica.see(*[GOOD] * 5, org="globex")
    await replica.tallies.flush()

    unfit = [
        breaker.key
        for breaker in (await store.read_state()).breakers
        if not states.is_fit(breaker, None)
    ]
    assert unfit == [Key(provider="openai", credential="acme")]


async def test_what_is_healthy_is_written_once_in_a_while(store: Store, url: str) -> None:
    replica = Replica(store)
    await replica.see(*[GOOD] * 100, org="acme")
    await replica.tallies.flush()
    known = await fetch(url, "SELECT update_time FROM circuit_window")
    for _ in range(3):
        replica.time += 1
        await replica.see(*[GOOD] * 100, org="acme")
        await replica.tallies.flush()
    assert await fetch(url, "SELECT update_time FROM circuit_window") == known
    replica.time += WRITE_SECONDS

    await replica.tallies.flush()

    [row] = await fetch(url, "SELECT call_count, model, credential FROM circuit_window")
    assert (row["call_count"], row["model"], row["credential"]) == (400, "", "")


async def test_figures_of_calls_that_are_over_do_not_stand_for_ever(
    store: Store, url: str
) -> None:
    replica = Replica(store)
    await replica.see(*[GOOD, BAD] * 2, org="acme")
    await replica.tallies.flush()
    seen = (await store.read_state()).figures["openai"]
    await execute(
        url,
        "UPDATE circuit_window SET slots = '{}', update_time = update_time - interval '2 minutes'",
    )
    replica.time += 1_000
    await replica.tallies.flush()
    later = (await store.read_state()).figures["openai"]

    assert seen.figures.error_rate_percent == 50
    assert 90 <= (seen.figures.latency_p50_ms or 0) <= 110
    assert later.figures.call_count == 0
    assert later.version > seen.version


async def test_what_could_not_be_written_is_written_later(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = Replica(store)
    await replica.see(*[GOOD, BAD] * 10, org="acme")
    await replica.see(*[GOOD, BAD] * 10, org="globex")
    await execute(url, "ALTER TABLE circuit_window RENAME TO elsewhere")
    with pytest.raises(Exception, match="circuit_window"):
        await replica.tallies.flush()
    await execute(url, "ALTER TABLE elsewhere RENAME TO circuit_window")

    await replica.tallies.flush()

    assert (await read(store))[0] is BreakerState.OPEN


async def test_counts_of_parts_that_went_well_are_dropped_from_memory(store: Store) -> None:
    replica = Replica(store)
    for number in range(50):
        await replica.see(GOOD, org=f"org-{number}")
    await replica.tallies.flush(everything=True)
    replica.time += 100

    await replica.tallies.flush()

    assert replica.tallies._pending == {}
