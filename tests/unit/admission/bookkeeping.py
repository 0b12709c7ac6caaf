"""A store in memory: keeps what a batch changed and makes the next batch's ledger from it."""

from __future__ import annotations

import copy
import datetime as dt
import uuid
from collections.abc import Iterable

from services.admission.domain.calls import (
    CallKey,
    Candidate,
    Operation,
    Outcome,
    Reservation,
    Reserve,
    State,
)
from services.admission.domain.ledger import Changes, Counter, Ledger
from services.admission.domain.limits import Binding, Fence, Limit, LimitSet, Metric
from services.admission.domain.windows import CalendarWindow, Period

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
        self.last_changes = Changes()

    def run(self, *operations: Operation) -> list[Outcome]:
        """Decides one batch and keeps what it changed."""
        bindings = self._bind(each.key.org for each in operations if isinstance(each, Reserve))
        keys = {each.key for each in operations}
        ledger = Ledger(
            now=self.now,
            fence=self.fence,
            bindings=bindings,
            counters=copy.deepcopy(self.counters),
            counter_sets=self.sets,
            reservations=[
                copy.copy(known) for key, known in self.reservations.items() if key in keys
            ],
        )
        outcomes = [ledger.apply(operation) for operation in operations]
        changes = self.last_changes = ledger.changes
        self.counters.update(changes.counters)
        for changed in (changes.opened, changes.closed, changes.revised):
            self.reservations.update(changed)
        assert not changes.opened.keys() & changes.closed.keys()
        return outcomes

    def sums(self) -> dict[uuid.UUID, tuple[int, int]]:
        """What each counter must hold and have settled, from the reservations alone."""
        sums = dict.fromkeys(self.counters, (0, 0))
        for known in self.reservations.values():
            for counter_id in self.sets[known.set_id] if known.set_id else ():
                held, settled = sums[counter_id]
                is_calls = self.counters[counter_id].metric is Metric.CALLS
                if known.state is State.HELD:
                    held += 1 if is_calls else known.held_nanos
                elif known.state is not State.RELEASED:
                    settled += 1 if is_calls else known.settled_nanos
                sums[counter_id] = (held, settled)
        return sums

    def check(self) -> None:
        """The books add up and no cap is overspent."""
        for counter_id, (held, settled) in self.sums().items():
            counter = self.counters[counter_id]
            assert (counter.held, counter.settled) == (held, settled)
            assert counter.settled + counter.held <= counter.high_cap + counter.overrun

    def _bind(self, orgs: Iterable[str]) -> dict[str, Binding]:
        limit_set = LimitSet(version=1, limits=tuple(self.limits), fences=())
        bindings = {org: limit_set.bind({"org": org}, self.now) for org in orgs}
        for binding in bindings.values():
            ids = tuple(bound.key.counter_id for bound in binding.bounds)
            self.sets[binding.set_id] = ids
            for bound in binding.bounds:
                counter = Counter(bound.key.counter_id, bound.key.metric, 0, 0, 0, 0)
                self.counters.setdefault(counter.counter_id, counter)
        return bindings
