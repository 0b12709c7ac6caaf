"""A provider's breakers and permits while one decision about them is made."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

from services.health.domain.breakers import (
    Breaker,
    BreakerChange,
    BreakerState,
    CallKey,
    Cause,
    Change,
    Forced,
    Key,
    ProbePermit,
    Situation,
)
from services.health.domain.rules import BreakerRules


class Group:
    """A working copy: takes changed breakers and permits, and says in the end what changed."""

    def __init__(self, situation: Situation, rules: BreakerRules) -> None:
        self.rules = rules
        self.now = situation.now
        self.breakers = dict(situation.breakers)
        self._before = situation.breakers
        self._provider = Key(provider=situation.provider)
        self._permits = {
            (permit.key, permit.call): permit
            for permit in situation.permits
            if permit.expire_time > situation.now
        }
        self._held = dict(self._permits)
        self._causes: dict[Key, Cause | None] = {}

    @property
    def last_epoch(self) -> int:
        """The newest epoch of the provider's breakers."""
        return self.breakers[self._provider].last_epoch

    def put(self, breaker: Breaker, cause: Cause | None = None) -> None:
        """Takes a breaker as it now is. A new state, or a new order of a person, begins the next
        epoch of the provider; `cause` says why.
        """
        before = self.breakers[breaker.key]
        moved = breaker.state is not before.state
        if moved or breaker.forced is not before.forced or cause is Cause.RESET:
            breaker = self._begin_epoch(before, breaker)
            self._causes[breaker.key] = cause
        elif cause is Cause.CREDENTIAL_REFUSED:
            self._causes.setdefault(breaker.key, cause)
        self.breakers[breaker.key] = breaker
        self._raise_last_epoch(breaker.epoch)

    def release(self, call: CallKey) -> dict[Key, ProbePermit]:
        """Ends the call's permits and returns them."""
        ended = {key: held for (key, holder), held in self._permits.items() if holder == call}
        for key in ended:
            del self._permits[key, call]
        return ended

    def has_place(self, breaker: Breaker, call: CallKey) -> bool:
        """Tells whether a call holds a permit of a half-open breaker, or may get one."""
        held = self._permits.get((breaker.key, call))
        if held is not None and held.epoch == breaker.epoch:
            return True
        count = sum(key == breaker.key for key, _ in self._permits)
        # A permit of an older epoch is replaced, so it takes no second place.
        return count - (held is not None) < self.rules.probe_count_max

    def lease(self, breaker: Breaker, call: CallKey, expire_time: dt.datetime) -> None:
        """Gives a call a permit, or lets the one it has live longer."""
        held = self._permits.get((breaker.key, call))
        if held is not None and held.epoch == breaker.epoch and held.expire_time >= expire_time:
            return
        self._permits[breaker.key, call] = ProbePermit(
            key=breaker.key, call=call, epoch=breaker.epoch, expire_time=expire_time
        )

    def extend(self, call: CallKey, expire_time: dt.datetime) -> bool:
        """Lets the permits that a call holds live longer; tells whether it holds any."""
        held = [permit for permit in self._permits.values() if permit.call == call]
        for permit in held:
            # Of whatever epoch: it counts for as long as its call may be out there.
            until = max(permit.expire_time, expire_time)
            self._permits[permit.key, call] = replace(permit, expire_time=until)
        return bool(held)

    def change(self) -> Change:
        """Returns what differs from the beginning."""
        ended = {call for key, call in self._held.keys() - self._permits.keys()}
        return Change(
            provider=self._provider.provider,
            breakers=tuple(
                BreakerChange(before=self._before[key], after=after, cause=self._causes.get(key))
                for key, after in self.breakers.items()
                if after != self._before[key]
            ),
            added=tuple(
                permit for key, permit in self._permits.items() if self._held.get(key) != permit
            ),
            released=tuple(sorted(ended, key=lambda call: (call.org, call.call_id))),
        )

    def _begin_epoch(self, before: Breaker, breaker: Breaker) -> Breaker:
        epoch = self.last_epoch + 1
        moved = replace(breaker, epoch=epoch, open_until=None, change_time=self.now)
        if breaker.state is not BreakerState.OPEN or breaker.forced is not Forced.NOT:
            return moved
        open_count = self._count_openings(before)
        duration = self.rules.open_duration_of(
            open_count=open_count, seed=f"{breaker.key.text} {epoch}"
        )
        return replace(moved, open_count=open_count, open_until=self.now + duration)

    def _count_openings(self, before: Breaker) -> int:
        since = before.change_time
        was_calm = since is None or self.now - since >= self.rules.calm_duration
        if before.state is BreakerState.CLOSED and was_calm:
            return 1
        return before.open_count + 1

    def _raise_last_epoch(self, epoch: int) -> None:
        provider = self.breakers[self._provider]
        if epoch > provider.last_epoch:
            self.breakers[self._provider] = replace(provider, last_epoch=epoch)
