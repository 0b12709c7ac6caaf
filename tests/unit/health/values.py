"""Values that the tests of health begin from."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Final

from services.health.domain.breakers import (
    Breaker,
    CallKey,
    Change,
    Key,
    Observation,
    ProbePermit,
    ProbeWish,
    Situation,
    Way,
)
from services.health.domain.rules import BreakerRules
from services.health.domain.signals import Signal

NOW: Final = dt.datetime(2026, 3, 29, 0, 59, 59, tzinfo=dt.UTC)
SECOND: Final = dt.timedelta(seconds=1)
PROVIDER: Final = "openai"
KEY: Final = Key(provider=PROVIDER)
MODEL: Final = Key(provider=PROVIDER, model="gpt-4o")
CREDENTIAL: Final = Key(provider=PROVIDER, credential="acme")
# Says something of the provider only.
PLAIN: Final = Way(provider=PROVIDER, model="", credential="")
# Says something of the provider, a model and a credential.
FULL: Final = Way(provider=PROVIDER, model="gpt-4o", credential="acme")
RULES: Final = BreakerRules(
    failure_threshold=5,
    open_duration=60 * SECOND,
    probe_count_max=2,
    probe_success_threshold=2,
    probe_duration=600 * SECOND,
    jitter=0.0,
)


def call(number: int) -> CallKey:
    """Odd calls are of one org, even ones of another."""
    return CallKey(org="acme" if number % 2 else "globex", call_id=uuid.UUID(int=number))


def observation(
    signal: Signal, *, epoch: int = 0, number: int = 1, way: Way = PLAIN
) -> Observation:
    return Observation(way=way, epoch=epoch, signal=signal, call=call(number))


def failures(count: int, *, way: Way = PLAIN, epoch: int = 0) -> list[Observation]:
    """Failures of calls of two orgs by turns."""
    return [
        observation(Signal.FAILED, number=number, way=way, epoch=epoch) for number in range(count)
    ]


def wish(number: int = 1, *, way: Way = PLAIN) -> ProbeWish:
    return ProbeWish(way=way, call=call(number))


def situation(
    *breakers: Breaker, permits: tuple[ProbePermit, ...] = (), now: dt.datetime = NOW
) -> Situation:
    known = {breaker.key: breaker for breaker in breakers}
    return Situation(
        provider=PROVIDER,
        breakers={key: known.get(key, Breaker(key=key)) for key in (KEY, MODEL, CREDENTIAL)}
        | known,
        permits=permits,
        now=now,
    )


def applied(before: Situation, change: Change) -> Situation:
    """The situation after a change was written, as the store writes it."""
    permits = {(permit.key, permit.call): permit for permit in before.permits}
    permits = {of: permit for of, permit in permits.items() if of[1] not in change.released}
    permits |= {(permit.key, permit.call): permit for permit in change.added}
    return Situation(
        provider=before.provider,
        breakers={**before.breakers, **{each.after.key: each.after for each in change.breakers}},
        permits=tuple(permits.values()),
        now=before.now,
    )


def after(before: Situation, change: Change, key: Key = KEY) -> Breaker:
    """A breaker after a change."""
    return applied(before, change).breakers[key]
