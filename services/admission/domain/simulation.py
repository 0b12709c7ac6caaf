"""Tries limits on the past: the ledger decides again on calls that were made.

Calls are replayed in order of admission, each held as it was held then and settled at what it cost
when it ended then. A call that would have been denied holds and costs nothing.
"""

from __future__ import annotations

import datetime as dt
import heapq
import uuid
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from services.admission.domain.bindings import Binding, LimitSet, Projection
from services.admission.domain.calls import Denied, Held, Reservation, Reserve, Settle
from services.admission.domain.counters import Counter, fresh
from services.admission.domain.ledger import Ledger


@dataclass(slots=True)
class PastCall:
    """One call that was made."""

    # As it asked then; its one candidate is where it went, with what it held there.
    call: Reserve
    admit_time: dt.datetime
    end_time: dt.datetime
    total_nanos: int
    # None: unknown, counted as held.
    token_count: int | None


@dataclass(slots=True)
class Denials:
    """What would have been denied, and what that cost in truth."""

    count: int = 0
    avoided_nanos: int = 0

    def add(self, past: PastCall) -> None:
        """Counts one call."""
        self.count += 1
        self.avoided_nanos += past.total_nanos


class _Open(NamedTuple):
    """A call that is open in the replay, ordered by when it ended."""

    end_time: dt.datetime
    # Tells those of one instant apart.
    number: int
    past: PastCall
    reservation: Reservation


@dataclass(slots=True)
class Simulation:
    """The state of a replay."""

    limit_set: LimitSet
    replayed_count: int = 0
    total: Denials = field(default_factory=Denials)
    # By limit and org.
    denials: dict[tuple[str, str], Denials] = field(default_factory=lambda: defaultdict(Denials))
    _counters: dict[uuid.UUID, Counter] = field(default_factory=dict)
    _sets: dict[uuid.UUID, tuple[uuid.UUID, ...]] = field(default_factory=dict)
    _bindings: dict[Projection, Binding] = field(default_factory=dict)
    _open: list[_Open] = field(default_factory=list)

    def replay(self, calls: Iterable[PastCall]) -> None:
        """Decides on calls, which come in order of admission."""
        for past in calls:
            self._end_until(past.admit_time)
            self._start(past)
            self.replayed_count += 1

    def _start(self, past: PastCall) -> None:
        binding = self._bind(past)
        past.call.bindings = (binding,)
        outcome = self._ledger(binding.set_id, past.admit_time).apply(past.call)
        if isinstance(outcome, Held):
            opened = _Open(past.end_time, self.replayed_count, past, outcome.reservation)
            heapq.heappush(self._open, opened)
        if not isinstance(outcome, Denied):
            return
        self.total.add(past)
        for limit_id in {each.limit.limit_id for each in outcome.violations}:
            self.denials[limit_id, past.call.key.org].add(past)

    def _end_until(self, instant: dt.datetime) -> None:
        while self._open and self._open[0].end_time <= instant:
            ended = heapq.heappop(self._open)
            (binding,) = ended.past.call.bindings
            ledger = self._ledger(binding.set_id, ended.end_time, ended.reservation)
            past = ended.past
            ledger.apply(Settle(past.call.key, 1, past.total_nanos, past.token_count))

    def _bind(self, past: PastCall) -> Binding:
        (candidate,) = past.call.candidates
        dimensions = past.call.dimensions_on(candidate.provider, candidate.model)
        projection = self.limit_set.project(dimensions)
        binding = self._bindings.get(projection)
        if binding is None or not binding.valid_from <= past.admit_time < binding.valid_until:
            binding = self.limit_set.bind(dimensions, past.admit_time)
            self._bindings[projection] = binding
            self._sets[binding.set_id] = tuple(bound.key.counter_id for bound in binding.bounds)
            for bound in binding.bounds:
                self._counters.setdefault(bound.key.counter_id, fresh(bound.key))
        return binding

    def _ledger(self, set_id: uuid.UUID, now: dt.datetime, *known: Reservation) -> Ledger:
        counters = {each: self._counters[each] for each in self._sets[set_id]}
        return Ledger(
            now=now,
            limit_set=self.limit_set,
            counters=counters,
            counter_sets=self._sets,
            reservations=known,
        )
