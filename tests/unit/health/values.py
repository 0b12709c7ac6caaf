"""Values that the tests of health begin from."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Final

from services.health.domain.breakers import (
    Breaker,
    BreakerChange,
    BreakerRules,
    CallKey,
    Observation,
    Outcome,
    ProbePermit,
    ProbeWish,
    Situation,
    unknown_breaker,
)

NOW: Final = dt.datetime(2026, 3, 29, 0, 59, 59, tzinfo=dt.UTC)
SECOND: Final = dt.timedelta(seconds=1)
PROVIDER: Final = "openai"
RULES: Final = BreakerRules(
    failure_threshold=5,
    open_duration=60 * SECOND,
    probe_count_max=2,
    probe_success_threshold=2,
    probe_duration=600 * SECOND,
)


def call(number: int) -> CallKey:
    return CallKey(org="acme", call_id=uuid.UUID(int=number))


def observation(outcome: Outcome, *, epoch: int = 0, number: int = 1) -> Observation:
    return Observation(provider=PROVIDER, epoch=epoch, outcome=outcome, call=call(number))


def wish(number: int = 1) -> ProbeWish:
    return ProbeWish(provider=PROVIDER, call=call(number))


def situation(
    breaker: Breaker | None = None,
    *,
    permits: tuple[ProbePermit, ...] = (),
    now: dt.datetime = NOW,
) -> Situation:
    return Situation(breaker=breaker or unknown_breaker(PROVIDER), permits=permits, now=now)


def applied(before: Situation, change: BreakerChange) -> Situation:
    """The situation after a change was written, as the store writes it."""
    permits = {permit.call: permit for permit in before.permits}
    for ended in change.released:
        del permits[ended]
    permits |= {permit.call: permit for permit in change.added}
    return Situation(breaker=change.after, permits=tuple(permits.values()), now=before.now)
