"""Decisions about a provider's breakers: what outcomes change, which calls may probe, who forces.

Each is a function of a situation. The same decision is first taken on an unlocked reading; only
if it changes something is it taken again under the provider's lock and written. A healthy
provider's successes so take no lock at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from services.health.domain import machine
from services.health.domain.breakers import (
    Breaker,
    BreakerState,
    Cause,
    Change,
    Forced,
    Key,
    Observation,
    ProbePermit,
    ProbeWish,
    Situation,
)
from services.health.domain.group import Group
from services.health.domain.rules import BreakerRules
from services.health.domain.signals import Signal


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What a row of outcomes does to a provider's breakers."""

    change: Change
    # For each observation, in order: was it dropped because no breaker could hear it?
    stale: tuple[bool, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Acquired:
    """Which of the calls may go to one provider."""

    change: Change
    # For each wish, in order.
    granted: tuple[bool, ...]
    # Newest epoch of the provider, for the permits of calls that may go.
    epoch: int


def observe(
    situation: Situation, observations: Sequence[Observation], *, rules: BreakerRules
) -> Observed:
    """Applies outcomes of one provider's calls in their order.

    Whatever its epoch, a call that ended gives its permits back. Otherwise a breaker does not hear
    an outcome of a call that was admitted before its last change of state; nor does an open one,
    or a half-open one without an unexpired permit of the call, because no such call was admitted
    to say something about it.
    """
    group = Group(situation, rules)
    stale: list[bool] = []
    for observation in observations:
        permits = group.release(observation.call)
        heard = [
            _hear(group, key, observation, permits.get(key)) for key in _listeners(observation)
        ]
        stale.append(not any(heard))
    return Observed(change=group.change(), stale=tuple(stale))


def acquire(situation: Situation, wishes: Sequence[ProbeWish], *, rules: BreakerRules) -> Acquired:
    """Decides which calls may go: all while closed, none while open, a few as probes between.

    A call needs the leave of every breaker on its way, and gets a permit of each half-open one or
    none at all. A call that holds a permit of this epoch keeps it. Permits of older epochs count
    against the bound until their calls end or they expire, so never more than the bound are
    outstanding.
    """
    group = Group(situation, rules)
    for key in situation.breakers:
        breaker = group.breakers[key]
        if breaker.open_until is not None and situation.now >= breaker.open_until:
            group.put(machine.half_opened(breaker, rules=rules), Cause.TIME)
    granted = tuple(_grant(group, wish, rules) for wish in wishes)
    return Acquired(change=group.change(), granted=granted, epoch=group.last_epoch)


def force(situation: Situation, key: Key, forced: Forced, *, rules: BreakerRules) -> Change:
    """Opens or closes a breaker until further notice, or gives it back to the state machine,
    closed and with nothing counted. Each begins an epoch: what is under way says nothing any more.
    """
    group = Group(situation, rules)
    breaker = group.breakers[key]
    if forced is Forced.NOT:
        fresh = replace(machine.closed(breaker, rules=rules), forced=forced, open_count=0)
        group.put(replace(fresh, cool_until=None, refuse_time=None), Cause.RESET)
    elif breaker.forced is not forced:
        move = machine.opened if forced is Forced.OPEN else machine.closed
        group.put(replace(move(breaker, rules=rules), forced=forced), Cause.FORCED)
    return group.change()


def trip(situation: Situation, causes: Mapping[Key, Cause], *, rules: BreakerRules) -> Change:
    """Opens the breakers whose rates say so, if they are closed and nobody wants them to be."""
    group = Group(situation, rules)
    for key, cause in causes.items():
        breaker = group.breakers[key]
        if breaker.state is BreakerState.CLOSED and breaker.forced is Forced.NOT:
            group.put(machine.opened(breaker, rules=rules), cause)
    return group.change()


def _listeners(observation: Observation) -> tuple[Key, ...]:
    """The breakers that an outcome is meant for."""
    keys = observation.way.keys
    if observation.signal in (Signal.REFUSED, Signal.THROTTLED):
        return tuple(key for key in keys if key.credential)
    return keys


def _hear(group: Group, key: Key, observation: Observation, permit: ProbePermit | None) -> bool:
    breaker = group.breakers[key]
    if not breaker.epoch <= observation.epoch <= group.last_epoch:
        return False
    if breaker.state is BreakerState.OPEN:
        return False
    if breaker.state is BreakerState.HALF_OPEN and (
        permit is None or permit.epoch != breaker.epoch
    ):
        return False
    _feed(group, breaker, observation)
    return True


def _feed(group: Group, breaker: Breaker, observation: Observation) -> None:
    now, rules = group.now, group.rules
    if observation.signal is Signal.NEUTRAL:
        return
    if observation.signal is Signal.THROTTLED:
        group.put(_cooled(breaker, observation, group))
    elif observation.signal is Signal.SUCCEEDED:
        if _is_well(breaker) and not breaker.key.is_provider:
            # Parts are many: a row of theirs is written when something fails.
            return
        seen = replace(breaker.saw(Signal.SUCCEEDED, now=now), refuse_time=None)
        group.put(machine.after_success(seen, rules=rules), Cause.PROBES_SUCCEEDED)
    else:
        seen = breaker.saw(Signal.FAILED, now=now)
        if observation.call.org not in seen.failure_orgs:
            orgs = (*seen.failure_orgs, observation.call.org)[:2]
            seen = replace(seen, failure_orgs=orgs)
        if observation.signal is Signal.REFUSED and seen.refuse_time is None:
            seen = replace(seen, refuse_time=now)
        after = machine.after_failure(seen, rules=rules)
        group.put(after, _cause_of(breaker, after, observation.signal))


def _is_well(breaker: Breaker) -> bool:
    return breaker.state is BreakerState.CLOSED and not breaker.failure_count


def _cause_of(before: Breaker, after: Breaker, signal: Signal) -> Cause | None:
    """Why a failure changed the state; the first refusal in a row is told at once."""
    if before.state is BreakerState.HALF_OPEN:
        return Cause.PROBE_FAILED
    if after.state is not before.state:
        return Cause.FAILURES
    is_first = signal is Signal.REFUSED and before.refuse_time is None
    return Cause.CREDENTIAL_REFUSED if is_first else None


def _cooled(breaker: Breaker, observation: Observation, group: Group) -> Breaker:
    asked = observation.cool_duration or group.rules.cool_duration
    until = group.now + min(asked, group.rules.cool_duration_max)
    if breaker.cool_until is not None and breaker.cool_until >= until:
        return breaker
    return replace(breaker, cool_until=until)


def _grant(group: Group, wish: ProbeWish, rules: BreakerRules) -> bool:
    expire_time = group.now + (wish.lease or rules.probe_duration)
    if wish.extends:
        return group.extend(wish.call, expire_time)
    breakers = [group.breakers[key] for key in wish.way.keys]
    if any(breaker.state is BreakerState.OPEN for breaker in breakers):
        return False
    needed = [breaker for breaker in breakers if breaker.state is BreakerState.HALF_OPEN]
    if not all(group.has_place(breaker, wish.call) for breaker in needed):
        return False
    for breaker in needed:
        group.lease(breaker, wish.call, expire_time)
    return True
