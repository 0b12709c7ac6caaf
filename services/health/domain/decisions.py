"""Decisions about one breaker: what outcomes change, and which calls may probe.

Both are functions of a situation. The same decision is first taken on an unlocked reading; only
if it changes something is it taken again under the row's lock and written. A healthy provider's
successes so take no lock at all.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from services.health.domain import machine
from services.health.domain.breakers import (
    Breaker,
    BreakerChange,
    BreakerRules,
    BreakerState,
    CallKey,
    Observation,
    Outcome,
    ProbePermit,
    ProbeWish,
    Situation,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What a row of outcomes does to one breaker."""

    change: BreakerChange
    # For each observation, in order: was it dropped because it says nothing about this epoch?
    stale: tuple[bool, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquired:
    """Which of the calls may go to one provider."""

    change: BreakerChange
    # For each wish, in order.
    granted: tuple[bool, ...]


def observe(
    situation: Situation, observations: Sequence[Observation], *, rules: BreakerRules
) -> Observed:
    """Applies outcomes of one provider's calls in their order.

    Whatever its epoch, a call that ended gives its permit back. Otherwise an outcome of another
    epoch changes nothing; nor does one of an open breaker, or of a half-open one without an
    unexpired permit, because no such call was admitted to say something about it.
    """
    breaker = situation.breaker
    permits = _unexpired(situation)
    released: list[CallKey] = []
    stale: list[bool] = []
    for observation in observations:
        permit = permits.pop(observation.call, None)
        if permit is not None:
            released.append(observation.call)
        counts = _counts(breaker, observation, permit)
        stale.append(not counts)
        if counts:
            breaker = _fed(breaker, observation.outcome, rules=rules, now=situation.now)
    change = BreakerChange(before=situation.breaker, after=breaker, released=tuple(released))
    return Observed(change=change, stale=tuple(stale))


def acquire(situation: Situation, wishes: Sequence[ProbeWish], *, rules: BreakerRules) -> Acquired:
    """Decides which calls may go: all while closed, none while open, a few as probes between.

    A call that holds a permit of this epoch keeps it. Permits of older epochs count against the
    bound until their calls end or they expire, so never more than the bound are outstanding.
    """
    breaker = _ready_for_probes(situation, rules)
    if breaker.state is not BreakerState.HALF_OPEN:
        change = BreakerChange(before=situation.breaker, after=breaker)
        granted = breaker.state is BreakerState.CLOSED
        return Acquired(change=change, granted=(granted,) * len(wishes))
    permits = _unexpired(situation)
    added: dict[CallKey, ProbePermit] = {}
    answers: list[bool] = []
    for wish in wishes:
        held = permits.get(wish.call)
        if held is None or held.epoch != breaker.epoch:
            # A permit of an older epoch is replaced, so it takes no second place.
            if len(permits) - (held is not None) >= rules.probe_count_max:
                answers.append(False)
                continue
            expire_time = situation.now + rules.probe_duration
            held = ProbePermit(call=wish.call, epoch=breaker.epoch, expire_time=expire_time)
            permits[wish.call] = added[wish.call] = held
        answers.append(True)
    change = BreakerChange(before=situation.breaker, after=breaker, added=tuple(added.values()))
    return Acquired(change=change, granted=tuple(answers))


def _unexpired(situation: Situation) -> dict[CallKey, ProbePermit]:
    return {
        permit.call: permit for permit in situation.permits if permit.expire_time > situation.now
    }


def _counts(breaker: Breaker, observation: Observation, permit: ProbePermit | None) -> bool:
    if observation.epoch != breaker.epoch or breaker.state is BreakerState.OPEN:
        return False
    if breaker.state is BreakerState.HALF_OPEN:
        return permit is not None and permit.epoch == breaker.epoch
    return True


def _fed(breaker: Breaker, outcome: Outcome, *, rules: BreakerRules, now: dt.datetime) -> Breaker:
    if outcome is Outcome.NEUTRAL:
        return breaker
    seen = breaker.saw(outcome, now=now)
    if outcome is Outcome.SUCCEEDED:
        return machine.after_success(seen, rules=rules, now=now)
    return machine.after_failure(seen, rules=rules, now=now)


def _ready_for_probes(situation: Situation, rules: BreakerRules) -> Breaker:
    breaker = situation.breaker
    if breaker.open_until is None or situation.now < breaker.open_until:
        return breaker
    return machine.half_opened(breaker, rules=rules, now=situation.now)
