"""Decides a batch of operations on locked state, in arrival order. Pure: rows in, changes out.

A call is admitted to the first candidate that fits every limit: settled + held + amount <= cap,
on all of them or none. What was used is booked whatever the cap says; the part above the hold is
overrun, which never buys room.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import assert_never

from services.admission.domain import denials, endings, holds
from services.admission.domain.bindings import Binding, LimitSet
from services.admission.domain.calls import (
    CallKey,
    Denied,
    Ended,
    Expire,
    Extend,
    Extended,
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
    Unknown,
    Violation,
    WriteOff,
)
from services.admission.domain.counters import Counter
from services.admission.domain.crossings import Crossing, cross
from services.admission.domain.estimates import Kind
from services.admission.domain.fences import Fence
from services.admission.domain.ids import day_of_id
from services.admission.domain.limits import Metric


@dataclass(slots=True)
class Changes:
    """What a batch changed, to be written in the transaction that holds the locks."""

    counters: dict[uuid.UUID, Counter] = field(default_factory=dict)
    opened: dict[CallKey, Reservation] = field(default_factory=dict)
    extended: dict[CallKey, Reservation] = field(default_factory=dict)
    closed: dict[CallKey, Reservation] = field(default_factory=dict)
    revised: dict[CallKey, Reservation] = field(default_factory=dict)
    # What calls were opened under, by the id of its set of counters.
    sets: dict[uuid.UUID, Binding] = field(default_factory=dict)
    crossings: list[Crossing] = field(default_factory=list)
    # With what the call was charged before.
    written_off: list[tuple[WriteOff, Reservation]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.counters or self.opened or self.extended or self.closed or self.revised)


class Ledger:
    """The locked state of one batch, changed by its operations one after the other."""

    def __init__(
        self,
        *,
        now: dt.datetime,
        limit_set: LimitSet,
        counters: Mapping[uuid.UUID, Counter],
        counter_sets: Mapping[uuid.UUID, tuple[uuid.UUID, ...]],
        reservations: Iterable[Reservation],
        shares: Mapping[Kind, int] | None = None,
    ) -> None:
        self.changes = Changes()
        self._now = now
        self._limit_set = limit_set
        self._counters = counters
        self._counter_sets = counter_sets
        self._reservations = {known.key: known for known in reservations}
        # Percent of the worst case that calls of a kind hardly ever exceed.
        self._shares = shares or {}
        self._bounds: dict[uuid.UUID, holds.Bounds] = {}
        for counter in counters.values():
            counter.roll(now)

    def apply(self, operation: Operation) -> Outcome:
        """Applies one operation and returns its outcome."""
        match operation:
            case Reserve():
                outcome = self._reserve(operation)
                if isinstance(outcome, (Held, Denied)):
                    outcome.limits_version = self._limit_set.version
                return outcome
            case Settle():
                return self._settle(operation)
            case Release():
                return self._release(operation)
            case Expire():
                return self._expire(operation)
            case Extend():
                return self._extend(operation)
            case WriteOff():
                return self._write_off(operation)
            case _:
                assert_never(operation)

    def _reserve(self, call: Reserve) -> Outcome:
        known = self._reservations.get(call.key)
        if known is None:
            return self._decide(call)
        if known.fingerprint and known.fingerprint != call.fingerprint:
            return IdReused(call.key)
        if known.state is not State.HELD:
            return Ended(known.state, known.settled_nanos)
        fence = self._fence(call, known.provider, known.model)
        return denials.fenced(fence) if fence else Held(known, replayed=True)

    def _decide(self, call: Reserve) -> Outcome:
        violations: list[list[Violation]] = []
        stops: list[Fence] = []
        for candidate, binding in zip(call.candidates, call.bindings, strict=True):
            fence = self._fence(call, candidate.provider, candidate.model)
            if fence is not None:
                stops.append(fence)
                continue
            bounds = self._bounds_of(binding)
            amounts = holds.estimate(call, candidate, bounds, shares=self._shares)
            violated, shadow = holds.check(call, candidate, bounds, amounts=amounts, now=self._now)
            if not violated:
                opened = holds.reservation(call, candidate, binding, amounts, self._now)
                self.changes.sets[binding.set_id] = binding
                self._open(opened, bounds)
                return Held(opened, replayed=False, shadow=tuple(shadow))
            violations.append(violated)
        return denials.deny(violations) if violations else denials.fenced(stops[0])

    def _fence(self, call: Reserve, provider: str, model: str) -> Fence | None:
        fences = self._limit_set.fences
        return fences.find(call.dimensions_on(provider, model), self._now) if fences else None

    def _bounds_of(self, binding: Binding) -> holds.Bounds:
        # Calls of one scope share a binding; finding its counters costs more than using them.
        bounds = self._bounds.get(binding.set_id)
        if bounds is None:
            bounds = [(bound, self._counters[bound.key.counter_id]) for bound in binding.bounds]
            self._bounds[binding.set_id] = bounds
        return bounds

    def _open(self, opened: Reservation, bounds: holds.Bounds) -> None:
        holds.place(opened, bounds)
        for _, counter in bounds:
            self.changes.counters[counter.counter_id] = counter
        self._reservations[opened.key] = opened
        self.changes.opened[opened.key] = opened

    def _settle(self, report: Settle) -> Outcome:
        known = self._reservations.get(report.key)
        if known is None:
            known = self._remember(report.key, State.SETTLED)
            known.settled_nanos, known.revision = report.total_nanos, report.revision
        elif known.revision < report.revision:
            known.revision = report.revision
            used = report.token_count
            used = known.held_tokens if used is None else used
            if known.state is State.HELD:
                self._close(known, State.SETTLED, nanos=report.total_nanos, tokens=used)
            else:
                self._revise(known, endings.after_report(known), report.total_nanos, used)
        return Ended(known.state, known.settled_nanos)

    def _release(self, release: Release) -> Outcome:
        known = self._reservations.get(release.key)
        if known is None:
            known = self._remember(release.key, State.RELEASED)
        elif known.state is State.HELD:
            self._close(known, State.RELEASED, nanos=0, tokens=0)
            known.hold_returned = True
        return Ended(known.state, known.settled_nanos)

    def _expire(self, expiry: Expire) -> Outcome:
        known = self._reservations.get(expiry.key)
        if known is None or known.state is not State.HELD or known.expire_time > self._now:
            return NotExpired()
        # The money is probably spent: it is charged until a report says otherwise.
        self._close(known, State.EXPIRED, nanos=known.held_nanos, tokens=known.held_tokens)
        return Ended(known.state, known.settled_nanos)

    def _extend(self, extension: Extend) -> Outcome:
        known = self._reservations.get(extension.key)
        if known is None or known.set_id is None:
            return Unknown(extension.key)
        dimensions = {
            **extension.dimensions,
            "org": known.key.org,
            "operation": known.operation,
            "provider": known.provider,
            "model": known.model,
        }
        fence = self._limit_set.fences.find(dimensions, self._now)
        self._expire(Expire(extension.key))
        if known.state is not State.HELD:
            return Ended(known.state, known.settled_nanos, fence)
        expire_time = self._now + extension.hold_duration
        if expire_time > known.expire_time:
            known.expire_time = expire_time
            if known.key not in self.changes.opened:
                self.changes.extended[known.key] = known
            for counter in self._counters_of(known):
                if counter.extend(expire_time):
                    self.changes.counters[counter.counter_id] = counter
        return Extended(known.expire_time, fence)

    def _write_off(self, order: WriteOff) -> Outcome:
        known = self._reservations.get(order.key)
        if known is None:
            return Unknown(order.key)
        self._expire(Expire(order.key))
        if known.state is State.EXPIRED:
            self.changes.written_off.append((order, replace(known)))
            self._revise(known, State.WRITTEN_OFF, 0, 0)
            known.hold_returned = True
        return Ended(known.state, known.settled_nanos)

    def _close(self, known: Reservation, state: State, *, nanos: int, tokens: int) -> None:
        known.state, known.settled_nanos, known.settled_tokens = state, nanos, tokens
        for counter in self._counters_of(known):
            endings.close(known, counter)
            self._note_change(counter)
        self._mark_ended(known)

    def _revise(self, known: Reservation, state: State, nanos: int, tokens: int) -> None:
        before = {metric: (known.charged(metric), known.overrun(metric)) for metric in Metric}
        known.state, known.settled_nanos, known.settled_tokens = state, nanos, tokens
        for counter in self._counters_of(known):
            endings.revise(known, counter, before[counter.metric])
            self._note_change(counter)
        if known.key not in self.changes.closed:
            self.changes.revised[known.key] = known

    def _note_change(self, counter: Counter) -> None:
        self.changes.counters[counter.counter_id] = counter
        limit = self._limit_set.limits.get(counter.limit_id)
        if limit is not None and counter.has_alerts and counter.belongs_to(limit):
            self.changes.crossings += cross(counter, limit)

    def _remember(self, key: CallKey, state: State) -> Reservation:
        tombstone = endings.tombstone(key, state, self._now)
        self._reservations[key] = tombstone
        self._mark_ended(tombstone)
        return tombstone

    def _mark_ended(self, known: Reservation) -> None:
        known.id_day = day_of_id(known.key.call_id, known.admit_time)
        self.changes.opened.pop(known.key, None)
        self.changes.extended.pop(known.key, None)
        self.changes.closed[known.key] = known

    def _counters_of(self, known: Reservation) -> list[Counter]:
        if known.set_id is None:
            return []
        ids = self._counter_sets.get(known.set_id, ())
        # Counters past the settlement horizon are forgotten, and nothing is charged to them.
        return [self._counters[each] for each in ids if each in self._counters]
