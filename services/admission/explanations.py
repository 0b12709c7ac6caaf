"""What would be decided: which limits apply to calls, why, and whether they have room now.

The same ledger decides, on counters that are read without locks and thrown away afterwards.
"""

from __future__ import annotations

import copy
import datetime as dt
import enum
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from services.admission.books import Books
from services.admission.domain import holds
from services.admission.domain.bindings import Binding, BoundLimit, CounterKey
from services.admission.domain.calls import Candidate, Outcome, Reserve, Violation
from services.admission.domain.counters import Counter, fresh
from services.admission.domain.estimates import Amounts
from services.admission.domain.fences import Fence
from services.admission.domain.ledger import Ledger
from services.admission.domain.limits import Limit, Mode
from services.admission.policy import PolicyCopy
from services.admission.shares import Shares


class Standing(enum.IntEnum):
    """Why a limit decides on a call, or does not; numbers as in the contract."""

    APPLIES = 1
    SHADOW = 2
    OVERRIDDEN = 3
    OFF = 4
    NOT_VALID = 5


@dataclass(slots=True)
class LimitExplanation:
    """Why one limit applies or not."""

    limit: Limit
    standing: Standing
    reason: str
    # The limit's counter, if it decides.
    bound: BoundLimit | None = None
    counter: Counter | None = None
    # Id of the limit that applies in its place. Empty: none.
    overridden_by: str = ""


@dataclass(slots=True)
class CandidateExplanation:
    """What applies to one call on one candidate."""

    candidate: Candidate
    limits: list[LimitExplanation]
    fence: Fence | None
    amounts: Amounts
    violations: list[Violation]

    @property
    def fits(self) -> bool:
        """True if the call would be admitted to this candidate now."""
        return self.fence is None and not self.violations


@dataclass(slots=True)
class Outlook:
    """What would be decided on a call now, and the counters that this rests on."""

    outcome: Outcome
    bounds: list[BoundLimit]
    counters: Mapping[uuid.UUID, Counter]


class Explanations:
    """Answers what would be; changes nothing."""

    def __init__(self, *, policy: PolicyCopy, books: Books, shares: Shares) -> None:
        self._policy = policy
        self._books = books
        self._shares = shares

    @property
    def limits_version(self) -> int:
        """Version of the limits that was looked at last."""
        return self._policy.limit_set.version

    async def explain(self, calls: Sequence[Reserve]) -> list[list[CandidateExplanation]]:
        """Returns for each call what applies on each of its candidates."""
        now, counters = await self._prepare(calls)
        return [
            [
                self._explain(call, candidate, binding, counters=counters, now=now)
                for candidate, binding in zip(call.candidates, call.bindings, strict=True)
            ]
            for call in calls
        ]

    async def look(self, call: Reserve) -> Outlook:
        """Returns what would be decided on a call now."""
        now, counters = await self._prepare([call])
        bounds = {bound.key.counter_id: bound for each in call.bindings for bound in each.bounds}
        ledger = Ledger(
            now=now,
            limit_set=self._policy.limit_set,
            # What the ledger holds is held nowhere.
            counters=copy.deepcopy(counters),
            counter_sets={},
            reservations=(),
            shares=self._shares.percents,
        )
        return Outlook(ledger.apply(call), list(bounds.values()), counters)

    async def _prepare(
        self, calls: Sequence[Reserve]
    ) -> tuple[dt.datetime, Mapping[uuid.UUID, Counter]]:
        await self._policy.reload_if_old()
        now = await self._books.read_clock()
        keys: dict[uuid.UUID, CounterKey] = {}
        for call in calls:
            call.bindings = self._policy.bind(call, now)
            for binding in call.bindings:
                keys.update((bound.key.counter_id, bound.key) for bound in binding.bounds)
        found = await self._books.read_counters(keys)
        counters = {each: found.get(each) or fresh(key) for each, key in keys.items()}
        for counter in counters.values():
            counter.roll(now)
        return now, counters

    def _explain(
        self,
        call: Reserve,
        candidate: Candidate,
        binding: Binding,
        *,
        counters: Mapping[uuid.UUID, Counter],
        now: dt.datetime,
    ) -> CandidateExplanation:
        dimensions = call.dimensions_on(candidate.provider, candidate.model)
        met = [(bound, counters[bound.key.counter_id]) for bound in binding.bounds]
        amounts = holds.estimate(call, candidate, met, shares=self._shares.percents)
        violated, _ = holds.check(call, candidate, met, amounts=amounts, now=now)
        bounds = {bound.limit.limit_id: bound for bound in binding.bounds}
        return CandidateExplanation(
            candidate=candidate,
            limits=[
                _explain_limit(limit, matching, bounds, counters, now)
                for matching in self._policy.limit_set.matching(dimensions)
                for limit in matching
            ],
            fence=self._policy.limit_set.fences.find(dimensions, now),
            amounts=amounts,
            violations=violated,
        )


def _explain_limit(
    limit: Limit,
    matching: Sequence[Limit],
    bounds: Mapping[str, BoundLimit],
    counters: Mapping[uuid.UUID, Counter],
    now: dt.datetime,
) -> LimitExplanation:
    """Explains one of the limits of one shape that match a call, the most specific first."""
    bound = bounds.get(limit.limit_id)
    if bound is not None:
        shadow = limit.mode is Mode.SHADOW
        return LimitExplanation(
            limit,
            Standing.SHADOW if shadow else Standing.APPLIES,
            bound=bound,
            counter=counters[bound.key.counter_id],
            reason="counts and never denies" if shadow else "applies",
        )
    if limit.mode is Mode.OFF:
        return LimitExplanation(limit, Standing.OFF, reason="is switched off")
    winner = next((each for each in matching if each.limit_id in bounds), None)
    if winner is None or not limit.applies_at(now):
        return LimitExplanation(limit, Standing.NOT_VALID, reason="is not valid now")
    return LimitExplanation(
        limit,
        Standing.OVERRIDDEN,
        overridden_by=winner.limit_id,
        reason=f"{winner.limit_id} is more specific and applies in its place",
    )
