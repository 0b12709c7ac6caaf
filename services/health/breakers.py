"""The breakers' use cases: feed outcomes, lease probes. Both micro-batched.

A batch is decided on an unlocked reading first. Providers for which that changes nothing are
answered from it: it is a moment at which the answer was true. The others are decided again under
their rows' locks, in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import asyncpg
import structlog

from headgate.batching import Batcher
from services.health.domain import decisions
from services.health.domain.breakers import (
    BreakerChange,
    BreakerRules,
    Observation,
    ProbeWish,
    Situation,
)
from services.health.store import BreakerDecision, Situations, Store

# A batch that Postgres rolled back to end a deadlock or conflict is repeated this often.
ATTEMPT_COUNT_MAX: Final = 2

log = structlog.get_logger()

Item = TypeVar("Item", Observation, ProbeWish)
Answer = TypeVar("Answer")
# Decides about one provider's items: an answer for each, and what changes.
Rule = Callable[[Situation, Sequence[Item]], tuple[Sequence[Answer], BreakerChange]]
CountStale = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeAnswer:
    """Whether one call may go, and under which epoch."""

    granted: bool
    epoch: int


class Breakers:
    """Decides by the rules, over rows that all replicas share."""

    def __init__(self, store: Store, rules: BreakerRules, *, count_stale: CountStale) -> None:
        self._store = store
        self._rules = rules
        self._count_stale = count_stale
        self._observations: Batcher[Observation, bool] = Batcher(self._observe_batch)
        self._wishes: Batcher[ProbeWish, ProbeAnswer] = Batcher(self._acquire_batch)

    async def observe(self, observations: Sequence[Observation], *, deadline: float | None) -> int:
        """Applies outcomes in their order and returns how many were dropped.

        Not idempotent, and not atomic beyond one batch: after an error some may be applied.
        """
        answers = await self._observations.submit_all(observations, deadline=deadline)
        return sum(_all_answered(answers))

    async def acquire(
        self, wishes: Sequence[ProbeWish], *, deadline: float | None
    ) -> Sequence[ProbeAnswer]:
        """Answers each call's wish to go to a provider. Safe to repeat for the same call."""
        return _all_answered(await self._wishes.submit_all(wishes, deadline=deadline))

    async def close(self) -> None:
        """Takes no more and returns when all earlier ones are answered."""
        await self._observations.close()
        await self._wishes.close()

    async def _observe_batch(self, batch: Sequence[Observation]) -> list[bool]:
        stale = await self._decide(batch, self._observe)
        if any(stale):
            self._count_stale(sum(stale))
        return stale

    async def _acquire_batch(self, batch: Sequence[ProbeWish]) -> list[ProbeAnswer]:
        return await self._decide(batch, self._acquire)

    def _observe(
        self, situation: Situation, observations: Sequence[Observation]
    ) -> tuple[Sequence[bool], BreakerChange]:
        observed = decisions.observe(situation, observations, rules=self._rules)
        return observed.stale, observed.change

    def _acquire(
        self, situation: Situation, wishes: Sequence[ProbeWish]
    ) -> tuple[Sequence[ProbeAnswer], BreakerChange]:
        acquired = decisions.acquire(situation, wishes, rules=self._rules)
        epoch = acquired.change.after.epoch
        answers = [ProbeAnswer(granted=granted, epoch=epoch) for granted in acquired.granted]
        return answers, acquired.change

    async def _decide(self, batch: Sequence[Item], rule: Rule[Item, Answer]) -> list[Answer]:
        groups = _group(batch)
        situations = await self._store.read_situations(groups)
        answers, changes = _apply(rule, groups, situations)
        changing = [change.before.provider for change in changes if not change.is_empty]
        if changing:
            answers |= await self._decide_locked(
                {provider: groups[provider] for provider in changing}, rule
            )
        # Each provider's answers are in the order of its items in the batch.
        streams = {provider: iter(found) for provider, found in answers.items()}
        return [next(streams[item.provider]) for item in batch]

    async def _decide_locked(
        self, groups: Mapping[str, Sequence[Item]], rule: Rule[Item, Answer]
    ) -> Mapping[str, Sequence[Answer]]:
        def decide(
            situations: Situations,
        ) -> BreakerDecision[tuple[Mapping[str, Sequence[Answer]], Sequence[BreakerChange]]]:
            answers, changes = _apply(rule, groups, situations)
            return (answers, changes), changes

        for attempt in range(1, ATTEMPT_COUNT_MAX + 1):
            try:
                answers, changes = await self._store.change_breakers(groups, decide)
            except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError):
                # Rolled back for certain, unlike a lost connection: nothing counts twice.
                if attempt == ATTEMPT_COUNT_MAX:
                    raise
            else:
                _log_transitions(changes)
                return answers
        raise AssertionError("the last attempt answers or raises")


def _apply(
    rule: Rule[Item, Answer], groups: Mapping[str, Sequence[Item]], situations: Situations
) -> tuple[dict[str, Sequence[Answer]], list[BreakerChange]]:
    decided = {provider: rule(situations[provider], items) for provider, items in groups.items()}
    answers = {provider: found for provider, (found, _) in decided.items()}
    return answers, [change for _, change in decided.values()]


def _group(batch: Iterable[Item]) -> dict[str, list[Item]]:
    groups: dict[str, list[Item]] = {}
    for item in batch:
        groups.setdefault(item.provider, []).append(item)
    return groups


def _all_answered(answers: Sequence[Answer | BaseException]) -> list[Answer]:
    answered: list[Answer] = []
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
        answered.append(answer)
    return answered


def _log_transitions(changes: Iterable[BreakerChange]) -> None:
    for change in changes:
        if change.is_transition:
            log.info(
                "breaker_moved",
                provider=change.after.provider,
                before=change.before.state.value,
                after=change.after.state.value,
                epoch=change.after.epoch,
                failure_count=change.after.failure_count,
            )
