"""A store in memory: keeps what a batch changed and makes the next batch's ledger from it."""

from __future__ import annotations

import copy
import datetime as dt
import uuid

from services.admission.domain.bindings import LimitSet
from services.admission.domain.calendars import Period
from services.admission.domain.calls import (
    CallKey,
    Candidate,
    Operation,
    Outcome,
    Reservation,
    Reserve,
    State,
)
from services.admission.domain.counters import Counter, fresh
from services.admission.domain.crossings import Crossing
from services.admission.domain.estimates import Kind
from services.admission.domain.fences import Fence
from services.admission.domain.ledger import Changes, Ledger
from services.admission.domain.limits import Limit, Metric
from services.admission.domain.windows import CalendarWindow

NOON = dt.datetime(2026, 5, 17, 12, tzinfo=dt.UTC)
TTL = dt.timedelta(seconds=60)


def make_limit(limit_id: str, *, org: str | None, metric: Metric, cap: int) -> Limit:
    return Limit(
        limit_id=limit_id,
        scope=() if org is None else (("org", org),),
        metric=metric,
        window=CalendarWindow(period=Period.DAY),
        cap=cap,
        owner=f"owner of {limit_id}",
    )


def make_reserve(
    number: int, *costs: int, org: str = "acme", fingerprint: bytes = b"f" * 32
) -> Reserve:
    return Reserve(
        key=CallKey(org, uuid.UUID(int=number)),
        fingerprint=fingerprint,
        operation="chat",
        candidates=tuple(
            Candidate("provider", f"model-{position}", cost, 0)
            for position, cost in enumerate(costs)
        ),
        hold_duration=TTL,
        price_version=1,
    )


class Bookkeeping:
    """Counters and reservations between batches."""

    def __init__(self, *limits: Limit) -> None:
        self.limits = list(limits)
        self.fence: Fence | None = None
        self.now = NOON
        self.counters: dict[uuid.UUID, Counter] = {}
        self.sets: dict[uuid.UUID, tuple[uuid.UUID, ...]] = {}
        self.reservations: dict[CallKey, Reservation] = {}
        self.shares: dict[Kind, int] = {}
        self.crossings: list[Crossing] = []
        self.last_changes = Changes()

    def run(self, *operations: Operation) -> list[Outcome]:
        """Decides one batch and keeps what it changed."""
        limit_set = LimitSet(
            version=1, limits=self.limits, fences=[self.fence] if self.fence else []
        )
        for each in operations:
            if isinstance(each, Reserve):
                self._bind(each, limit_set)
        keys = {each.key for each in operations}
        ledger = Ledger(
            now=self.now,
            limit_set=limit_set,
            shares=self.shares,
            counters=copy.deepcopy(self.counters),
            counter_sets=self.sets,
            reservations=[
                copy.copy(known) for key, known in self.reservations.items() if key in keys
            ],
        )
        outcomes = [ledger.apply(operation) for operation in operations]
        changes = self.last_changes = ledger.changes
        self.crossings += changes.crossings
        self.counters.update(changes.counters)
        for changed in (changes.opened, changes.extended, changes.closed, changes.revised):
            self.reservations.update(changed)
        assert not changes.opened.keys() & changes.closed.keys()
        return outcomes

    def sums(self) -> dict[uuid.UUID, tuple[int, int]]:
        """What each counter must hold and have settled, from the reservations alone."""
        sums = dict.fromkeys(self.counters, (0, 0))
        for known in self.reservations.values():
            for counter_id in self.sets[known.set_id] if known.set_id else ():
                held, settled = sums[counter_id]
                amounts = _amounts(known, self.counters[counter_id].metric)
                if known.state is State.HELD:
                    held += amounts[0]
                elif known.state not in (State.RELEASED, State.WRITTEN_OFF):
                    settled += amounts[1]
                sums[counter_id] = (held, settled)
        return sums

    def check(self) -> None:
        """The books add up and no cap is overspent."""
        for counter_id, (held, settled) in self.sums().items():
            counter = self.counters[counter_id]
            assert (counter.held, counter.settled) == (held, settled)
            assert counter.settled + counter.held <= counter.high_cap + counter.overrun

    def check_caps(self) -> None:
        """No cap is overspent."""
        for counter in self.counters.values():
            assert counter.settled + counter.held <= counter.high_cap + counter.overrun

    def _bind(self, call: Reserve, limit_set: LimitSet) -> None:
        call.bindings = tuple(
            limit_set.bind(call.dimensions_on(each.provider, each.model), self.now)
            for each in call.candidates
        )
        for binding in call.bindings:
            ids = tuple(bound.key.counter_id for bound in binding.bounds)
            self.sets[binding.set_id] = ids
            for bound in binding.bounds:
                self.counters.setdefault(bound.key.counter_id, fresh(bound.key))


def _amounts(known: Reservation, metric: Metric) -> tuple[int, int]:
    """What a call holds while it is open, and is charged with after it has ended."""
    return {
        Metric.CALLS: (1, 1),
        Metric.COST: (known.held_nanos, known.settled_nanos),
        Metric.TOKENS: (known.held_tokens, known.settled_tokens),
        Metric.CONCURRENCY: (1, 0),
    }[metric]
