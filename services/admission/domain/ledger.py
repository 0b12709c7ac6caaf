"""Decides a batch of operations on locked state, in arrival order. Pure: rows in, changes out.

A call is admitted to the first candidate that fits every limit: settled + held + amount <= cap,
on all of them or none. What was used is booked whatever the cap says; the part above the hold is
overrun, which never buys room.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import assert_never

from services.admission.domain.calls import (
    CallKey,
    Candidate,
    Ended,
    Expire,
    Held,
    IdReused,
    NotExpired,
    Operation,
    Outcome,
    Release,
    Reservation,
    Reserve,
    Settle,
    State,
    Violation,
)
from services.admission.domain.denials import deny, fenced
from services.admission.domain.limits import Binding, BoundLimit, Fence, Metric


@dataclass(slots=True)
class Counter:
    """What one scope has used in one window, while its row is locked."""

    counter_id: uuid.UUID
    metric: Metric
    held: int
    settled: int
    overrun: int
    # Greatest cap under which something was admitted in this window.
    high_cap: int


@dataclass(slots=True)
class Changes:
    """What a batch changed, to be written in the transaction that holds the locks."""

    counters: dict[uuid.UUID, Counter] = field(default_factory=dict)
    opened: dict[CallKey, Reservation] = field(default_factory=dict)
    closed: dict[CallKey, Reservation] = field(default_factory=dict)
    revised: dict[CallKey, Reservation] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.counters or self.opened or self.closed or self.revised)


class Ledger:
    """The locked state of one batch, changed by its operations one after the other."""

    def __init__(
        self,
        *,
        now: dt.datetime,
        fence: Fence | None,
        bindings: Mapping[str, Binding],
        counters: Mapping[uuid.UUID, Counter],
        counter_sets: Mapping[uuid.UUID, tuple[uuid.UUID, ...]],
        reservations: Iterable[Reservation],
    ) -> None:
        self.changes = Changes()
        self._now = now
        self._fence = fence
        self._bindings = bindings
        self._counters = counters
        self._counter_sets = counter_sets
        self._reservations = {known.key: known for known in reservations}

    def apply(self, operation: Operation) -> Outcome:
        """Applies one operation and returns its outcome."""
        match operation:
            case Reserve():
                return self._reserve(operation)
            case Settle():
                return self._settle(operation)
            case Release():
                return self._release(operation)
            case Expire():
                return self._expire(operation)
            case _:
                assert_never(operation)

    def _reserve(self, call: Reserve) -> Outcome:
        known = self._reservations.get(call.key)
        if known is not None and known.fingerprint and known.fingerprint != call.fingerprint:
            return IdReused(call.key)
        if known is not None and known.state is not State.HELD:
            return Ended(known.state, known.settled_nanos)
        if self._fence is not None:
            return fenced(self._fence)
        if known is not None:
            return Held(known, replayed=True)
        binding = self._bindings[call.key.org]
        violations: list[list[Violation]] = []
        for candidate in call.candidates:
            violated = self._violations(binding, candidate)
            if not violated:
                return Held(self._open(call, candidate, binding), replayed=False)
            violations.append(violated)
        return deny(violations, self._now)

    def _violations(self, binding: Binding, candidate: Candidate) -> list[Violation]:
        violated = []
        for bound in binding.bounds:
            counter = self._counters[bound.key.counter_id]
            amount = 1 if counter.metric is Metric.CALLS else candidate.cost_nanos
            if counter.settled + counter.held + amount > bound.limit.cap:
                violated.append(_violation(bound, counter, candidate, amount))
        return violated

    def _open(self, call: Reserve, candidate: Candidate, binding: Binding) -> Reservation:
        opened = Reservation(
            key=call.key,
            fingerprint=call.fingerprint,
            operation=call.operation,
            provider=candidate.provider,
            model=candidate.model,
            held_nanos=candidate.cost_nanos,
            set_id=binding.set_id,
            admit_time=self._now,
            expire_time=self._now + call.hold_duration,
            price_version=call.price_version,
            breaker_epoch=candidate.breaker_epoch,
        )
        for bound in binding.bounds:
            counter = self._counters[bound.key.counter_id]
            counter.held += 1 if counter.metric is Metric.CALLS else candidate.cost_nanos
            counter.high_cap = max(counter.high_cap, bound.limit.cap)
            self.changes.counters[counter.counter_id] = counter
        self._reservations[call.key] = opened
        self.changes.opened[call.key] = opened
        return opened

    def _settle(self, report: Settle) -> Outcome:
        known = self._reservations.get(report.key)
        if known is None:
            known = self._remember(report.key, State.SETTLED)
            known.settled_nanos, known.revision = report.total_nanos, report.revision
            return Ended(known.state, known.settled_nanos)
        if known.revision >= report.revision:
            return Ended(known.state, known.settled_nanos)
        known.revision = report.revision
        if known.state is State.HELD:
            self._close(known, State.SETTLED, settled_nanos=report.total_nanos)
        else:
            self._revise(known, settled_nanos=report.total_nanos)
        return Ended(known.state, known.settled_nanos)

    def _release(self, release: Release) -> Outcome:
        known = self._reservations.get(release.key)
        if known is None:
            known = self._remember(release.key, State.RELEASED)
        elif known.state is State.HELD:
            known.hold_returned = True
            self._close(known, State.RELEASED, settled_nanos=0)
        return Ended(known.state, known.settled_nanos)

    def _expire(self, expiry: Expire) -> Outcome:
        known = self._reservations.get(expiry.key)
        if known is None or known.state is not State.HELD or known.expire_time > self._now:
            return NotExpired()
        # The money is probably spent: it is charged until a report says otherwise.
        self._close(known, State.EXPIRED, settled_nanos=known.held_nanos)
        return Ended(known.state, known.settled_nanos)

    def _close(self, known: Reservation, state: State, *, settled_nanos: int) -> None:
        for counter in self._counters_of(known):
            is_calls = counter.metric is Metric.CALLS
            counter.held -= 1 if is_calls else known.held_nanos
            if state is not State.RELEASED:
                counter.settled += 1 if is_calls else settled_nanos
                if not is_calls:
                    counter.overrun += max(0, settled_nanos - known.held_nanos)
        known.state, known.settled_nanos = state, settled_nanos
        self._mark_ended(known)

    def _revise(self, known: Reservation, *, settled_nanos: int) -> None:
        was_charged = known.state is not State.RELEASED
        for counter in self._counters_of(known):
            if counter.metric is Metric.CALLS:
                if not was_charged:
                    counter.settled += 1
                    counter.overrun += 1
                continue
            counter.settled += settled_nanos - known.settled_nanos
            counter.overrun += _overrun(known, settled_nanos) - _overrun(
                known, known.settled_nanos
            )
        if known.state in (State.RELEASED, State.EXPIRED):
            known.state = State.LATE
        known.settled_nanos = settled_nanos
        if known.key not in self.changes.closed:
            self.changes.revised[known.key] = known

    def _remember(self, key: CallKey, state: State) -> Reservation:
        """Leaves a tombstone, so that a delayed Reserve of this id finds it ended."""
        tombstone = Reservation(
            key=key,
            fingerprint=b"",
            operation="",
            provider="",
            model="",
            held_nanos=0,
            set_id=None,
            admit_time=self._now,
            expire_time=self._now,
            price_version=0,
            breaker_epoch=0,
            state=state,
            hold_returned=True,
        )
        self._reservations[key] = tombstone
        self._mark_ended(tombstone)
        return tombstone

    def _mark_ended(self, known: Reservation) -> None:
        known.id_day = day_of_id(known.key.call_id, known.admit_time)
        self.changes.opened.pop(known.key, None)
        self.changes.closed[known.key] = known

    def _counters_of(self, known: Reservation) -> list[Counter]:
        if known.set_id is None:
            return []
        counters = [self._counters[each] for each in self._counter_sets[known.set_id]]
        self.changes.counters.update((counter.counter_id, counter) for counter in counters)
        return counters


# Ids that carry no usable time share one partition of ended reservations.
UNDATED = dt.date(1970, 1, 1)


def id_day_of(call_id: uuid.UUID) -> dt.date:
    """Returns the UTC day in a version 7 UUID's time stamp, UNDATED for other ids."""
    if call_id.version != 7:  # noqa: PLR2004 - RFC 9562's number of time-ordered ids
        return UNDATED
    milliseconds = call_id.int >> 80
    try:
        return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC).date()
    except (OverflowError, ValueError, OSError):
        return UNDATED


def day_of_id(call_id: uuid.UUID, admit_time: dt.datetime) -> dt.date:
    """Returns the partition of an ended call: the day in its id if that is near its admission.

    A look-up probes two partitions, the id's day and UNDATED, instead of one for each day of the
    settlement horizon.
    """
    day = id_day_of(call_id)
    return day if abs((day - admit_time.date()).days) <= 1 else UNDATED


def _overrun(known: Reservation, settled_nanos: int) -> int:
    if known.hold_returned:
        return settled_nanos
    return max(0, settled_nanos - known.held_nanos)


def _violation(
    bound: BoundLimit, counter: Counter, candidate: Candidate, amount: int
) -> Violation:
    return Violation(
        limit=bound.limit,
        scope=bound.key.scope,
        settled=counter.settled,
        held=counter.held,
        requested=amount,
        excess=counter.settled + counter.held + amount - bound.limit.cap,
        reset_time=bound.key.span.end,
        candidate=candidate,
    )
