"""What admission must do, written as plainly as can be: every call is kept, every sum made anew.

It knows limits of five shapes on two orgs, each with a default and perhaps an override. It shares
with the engine only the names of things.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from services.admission.domain.calendars import Period
from services.admission.domain.calls import CallKey, State
from services.admission.domain.limits import ANY, Limit, Metric, Scope
from services.admission.domain.windows import (
    BucketWindow,
    CalendarWindow,
    OpenWindow,
    RollingWindow,
    TotalWindow,
    Window,
)
from tests.unit.admission.plain_windows import BucketModel, period_of, slot_end

# Scope values, metric, window, and the period's first instant if it has periods.
CounterName: TypeAlias = tuple[Scope, Metric, Window, dt.datetime | None]
# Name of the dimension besides the org -> metric and window.
SHAPES: Final[list[tuple[str, Metric, Window]]] = [
    ("", Metric.COST, CalendarWindow(period=Period.DAY, time_zone="Europe/Amsterdam")),
    ("", Metric.CALLS, RollingWindow(length_us=60_000_000, slot_count=6)),
    ("", Metric.COST, BucketWindow(refill_amount=3, refill_us=1_000_000)),
    ("user", Metric.COST, TotalWindow()),
    ("", Metric.CONCURRENCY, OpenWindow()),
]
CAPS: Final = {Metric.COST: (0, 60, 150, 400), Metric.CALLS: (1, 3, 6), Metric.CONCURRENCY: (1, 3)}
NO_CHARGE: Final = (State.RELEASED, State.WRITTEN_OFF)


@dataclass(slots=True, kw_only=True)
class Call:
    """One call that was admitted."""

    key: CallKey
    fingerprint: bytes
    nanos: int
    admit_time: dt.datetime
    expire_time: dt.datetime
    # Counters that it counts on, with the caps under which it was admitted.
    names: dict[CounterName, int]
    state: State = State.HELD
    settled_nanos: int = 0
    revision: int = 0
    hold_returned: bool = False

    def held(self, metric: Metric) -> int:
        """What its hold counts."""
        return self.nanos if metric is Metric.COST else 1

    def charged(self, metric: Metric) -> int:
        """What it counts after its end."""
        if metric is Metric.COST:
            return self.settled_nanos
        return int(metric is Metric.CALLS and self.state not in NO_CHARGE)

    def overrun(self, metric: Metric) -> int:
        """What its hold did not cover."""
        if self.state is State.HELD:
            return 0
        covered = 0 if self.hold_returned else self.held(metric)
        return max(0, self.charged(metric) - covered)


@dataclass(slots=True)
class Reference:
    """Limits, fences and calls; time is given with each question."""

    limits: dict[str, Limit] = field(default_factory=dict)
    fenced: bool = False
    calls: dict[CallKey, Call] = field(default_factory=dict)
    # Ids that ended without having been admitted.
    tombstones: dict[CallKey, State] = field(default_factory=dict)
    buckets: dict[CounterName, BucketModel] = field(default_factory=dict)

    def names(self, dimensions: dict[str, str], now: dt.datetime) -> dict[CounterName, int]:
        """The counters that a call would count on now, with their caps."""
        winners: dict[object, Limit] = {}
        for limit in self.limits.values():
            if all(value in (ANY, dimensions.get(name)) for name, value in limit.scope):
                if not all(name in dimensions for name, _ in limit.scope):
                    continue
                shape = (tuple(name for name, _ in limit.scope), limit.metric, limit.window)
                rival = winners.get(shape)
                if rival is None or _concrete(limit) > _concrete(rival):
                    winners[shape] = limit
        return {
            (
                tuple((name, dimensions[name]) for name, _ in limit.scope),
                limit.metric,
                limit.window,
                _period(limit.window, now),
            ): limit.cap
            for limit in winners.values()
        }

    def used(self, name: CounterName, now: dt.datetime) -> int:
        """What counts on a counter now."""
        _, metric, window, _ = name
        if isinstance(window, BucketWindow):
            level = self.buckets[name].used(now) if name in self.buckets else 0
            return -(-level // 1)
        return sum(
            call.held(metric) if call.state is State.HELD else call.charged(metric)
            for call in self.calls_on(name)
            if _counts(call, window, now)
        )

    def calls_on(self, name: CounterName) -> Iterator[Call]:
        """The calls that were admitted on a counter."""
        return (call for call in self.calls.values() if name in call.names)

    def fits(self, nanos: int, dimensions: dict[str, str], now: dt.datetime) -> bool:
        """Whether a call must be admitted."""
        return all(
            self.used(name, now) + (nanos if name[1] is Metric.COST else 1) <= cap
            for name, cap in self.names(dimensions, now).items()
        )

    def admit(self, call: Call) -> None:
        """Keeps a call that was admitted."""
        self.calls[call.key] = call
        for name in call.names:
            if isinstance(name[2], BucketWindow):
                bucket = self.buckets.setdefault(name, BucketModel(name[2]))
                bucket.admit(call.held(name[1]), call.admit_time)

    def settle(self, key: CallKey, revision: int, nanos: int, now: dt.datetime) -> None:
        """Books a report."""
        if (call := self.calls.get(key)) is None:
            self.tombstones.setdefault(key, State.SETTLED)
        elif revision > call.revision:
            state = State.SETTLED if call.state in (State.HELD, State.SETTLED) else State.LATE
            self._change(call, now, state=state, settled_nanos=nanos, revision=revision)

    def release(self, key: CallKey) -> None:
        """Gives a hold back."""
        if (call := self.calls.get(key)) is None:
            self.tombstones.setdefault(key, State.RELEASED)
        elif call.state is State.HELD:
            call.state, call.hold_returned = State.RELEASED, True

    def expire(self, key: CallKey, now: dt.datetime) -> bool:
        """Ends a hold whose time has passed; tells whether it did."""
        call = self.calls.get(key)
        if call is None or call.state is not State.HELD or now < call.expire_time:
            return False
        call.state, call.settled_nanos = State.EXPIRED, call.nanos
        return True

    def extend(self, key: CallKey, duration: dt.timedelta, now: dt.datetime) -> None:
        """Lets a hold live longer, if its time has not passed."""
        self.expire(key, now)
        call = self.calls.get(key)
        if call is not None and call.state is State.HELD:
            call.expire_time = max(call.expire_time, now + duration)

    def write_off(self, key: CallKey, now: dt.datetime) -> None:
        """Takes what nobody reported out of the sums."""
        self.expire(key, now)
        call = self.calls.get(key)
        if call is not None and call.state is State.EXPIRED:
            self._change(call, now, state=State.WRITTEN_OFF, settled_nanos=0, revision=0)
            call.hold_returned = True

    def _change(
        self, call: Call, now: dt.datetime, *, state: State, settled_nanos: int, revision: int
    ) -> None:
        before = replace(call)
        call.state, call.settled_nanos, call.revision = state, settled_nanos, revision
        for name in call.names:
            if isinstance(name[2], BucketWindow):
                added = call.overrun(name[1]) - before.overrun(name[1])
                if added > 0:
                    bucket = self.buckets[name]
                    bucket.level, bucket.since = bucket.used(now) + added, now


def _concrete(limit: Limit) -> tuple[int, tuple[bool, ...]]:
    flags = tuple(value != ANY for _, value in limit.scope)
    return (sum(flags), flags)


def _period(window: Window, now: dt.datetime) -> dt.datetime | None:
    return period_of(window, now)[0] if isinstance(window, CalendarWindow) else None


def _counts(call: Call, window: Window, now: dt.datetime) -> bool:
    if isinstance(window, RollingWindow):
        length = dt.timedelta(microseconds=window.length_us)
        return now < slot_end(window, call.admit_time) + length
    if isinstance(window, OpenWindow):
        return call.state is State.HELD and now < call.expire_time
    return True
