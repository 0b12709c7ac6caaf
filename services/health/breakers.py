"""The breakers' use cases: feed outcomes, lease probes, force. The first two micro-batched.

A batch is decided on an unlocked reading first. Providers for which that changes nothing are
answered from it: it is a moment at which the answer was true. The others are decided again under
their rows' locks, in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol, TypeVar

import asyncpg
import structlog

from headgate.batching import Batcher
from services.health.circuit_rows import Move
from services.health.circuit_store import CircuitStore, Decision, Situations
from services.health.domain import decisions
from services.health.domain.breakers import (
    Breaker,
    Change,
    Forced,
    Key,
    Observation,
    ProbeWish,
    Situation,
)
from services.health.domain.kills import ChangeNote
from services.health.domain.rules import BreakerRules

# A batch that Postgres rolled back to end a deadlock or conflict is repeated this often.
ATTEMPT_COUNT_MAX: Final = 2

log = structlog.get_logger()

Item = TypeVar("Item", Observation, ProbeWish)
Answer = TypeVar("Answer")
# Decides about one provider's items: an answer for each, and what changes.
Rule = Callable[[Situation, Sequence[Item]], tuple[Sequence[Answer], Change]]
Count = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeAnswer:
    """Whether one call may go, and under which epoch."""

    granted: bool
    epoch: int


class Census(Protocol):
    """Which breakers are known, so that outcomes of invented providers fill no table."""

    def admits(self, key: Key) -> bool:
        """Tells whether a breaker is known, or may be made."""


class Breakers:
    """Decides by the rules, over rows that all replicas share."""

    def __init__(
        self,
        store: CircuitStore,
        rules: BreakerRules,
        *,
        count_stale: Count,
        census: Census | None = None,
        heard: Callable[[Observation], None] = lambda _: None,
    ) -> None:
        """`heard` is told of each outcome that a breaker heard. No `census`: all are known."""
        self._store = store
        self._rules = rules
        self._count_stale = count_stale
        self._census = census
        self._heard = heard
        self._observations: Batcher[Observation, bool] = Batcher(self._observe_batch)
        self._wishes: Batcher[ProbeWish, ProbeAnswer] = Batcher(self._acquire_batch)

    async def observe(self, observations: Sequence[Observation], *, deadline: float | None) -> int:
        """Applies outcomes in their order and returns how many were dropped.

        Not idempotent, and not atomic beyond one batch: after an error some may be applied.
        """
        known = [each for each in map(self._known, observations) if each is not None]
        answers = await self._observations.submit_all(known, deadline=deadline)
        unknown_count = len(observations) - len(known)
        if unknown_count:
            self._count_stale(unknown_count)
        return unknown_count + sum(_all_answered(answers))

    async def acquire(
        self, wishes: Sequence[ProbeWish], *, deadline: float | None
    ) -> Sequence[ProbeAnswer]:
        """Answers each call's wish to go to a provider. Safe to repeat for the same call."""
        return _all_answered(await self._wishes.submit_all(wishes, deadline=deadline))

    async def force(self, key: Key, forced: Forced, *, note: ChangeNote) -> Breaker:
        """Opens or closes a breaker until further notice, or gives it back to its machine."""

        def decide(situations: Situations) -> Decision[tuple[Breaker, Change]]:
            situation = situations[key.provider]
            change = decisions.force(situation, key, forced, rules=self._rules)
            after = {each.after.key: each.after for each in change.breakers}
            return (after.get(key, situation.breakers[key]), change), [change]

        breaker, change = await self._store.change_breakers([key], decide, note=note)
        log_moves([change])
        return breaker

    async def list_moves(self, *, provider: str, before: int, count_max: int) -> list[Move]:
        """Lists changes of state, newest first, from below an id. Empty provider: of all."""
        return await self._store.list_moves(provider=provider, before=before, count_max=count_max)

    async def close(self) -> None:
        """Takes no more and returns when all earlier ones are answered."""
        await self._observations.close()
        await self._wishes.close()

    def _known(self, observation: Observation) -> Observation | None:
        """Leaves out the parts that may not be made; None if not even the provider may."""
        if self._census is None:
            return observation
        if not self._census.admits(Key(provider=observation.provider)):
            return None
        way = observation.way
        parts = {key: self._census.admits(key) for key in way.keys}
        if all(parts.values()):
            return observation
        model = Key(provider=way.provider, model=way.model)
        credential = Key(provider=way.provider, credential=way.credential)
        narrowed = replace(
            way,
            model=way.model if parts.get(model) else "",
            credential=way.credential if parts.get(credential) else "",
        )
        return replace(observation, way=narrowed)

    async def _observe_batch(self, batch: Sequence[Observation]) -> list[bool]:
        stale = await self._decide(batch, self._observe)
        if any(stale):
            self._count_stale(sum(stale))
        for observation, is_stale in zip(batch, stale, strict=True):
            if not is_stale:
                self._heard(observation)
        return stale

    async def _acquire_batch(self, batch: Sequence[ProbeWish]) -> list[ProbeAnswer]:
        return await self._decide(batch, self._acquire)

    def _observe(
        self, situation: Situation, observations: Sequence[Observation]
    ) -> tuple[Sequence[bool], Change]:
        observed = decisions.observe(situation, observations, rules=self._rules)
        return observed.stale, observed.change

    def _acquire(
        self, situation: Situation, wishes: Sequence[ProbeWish]
    ) -> tuple[Sequence[ProbeAnswer], Change]:
        acquired = decisions.acquire(situation, wishes, rules=self._rules)
        answers = [
            ProbeAnswer(granted=granted, epoch=acquired.epoch) for granted in acquired.granted
        ]
        return answers, acquired.change

    async def _decide(self, batch: Sequence[Item], rule: Rule[Item, Answer]) -> list[Answer]:
        groups = _group(batch)
        situations = await self._store.read_situations(_keys(groups))
        answers, changes = _apply(rule, groups, situations)
        changing = [change.provider for change in changes if not change.is_empty]
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
        ) -> Decision[tuple[Mapping[str, Sequence[Answer]], Sequence[Change]]]:
            answers, changes = _apply(rule, groups, situations)
            return (answers, changes), changes

        for attempt in range(1, ATTEMPT_COUNT_MAX + 1):
            try:
                answers, changes = await self._store.change_breakers(_keys(groups), decide)
            except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError):
                # Rolled back for certain, unlike a lost connection: nothing counts twice.
                if attempt == ATTEMPT_COUNT_MAX:
                    raise
            else:
                log_moves(changes)
                return answers
        raise AssertionError("the last attempt answers or raises")


def log_moves(changes: Iterable[Change]) -> None:
    """Writes what the history keeps into the log, too."""
    for change in changes:
        for each in change.breakers:
            if each.cause is not None:
                log.warning(
                    "breaker_moved" if each.is_transition else "credential_refused",
                    breaker=each.after.key.text,
                    before=each.before.state.value,
                    after=each.after.state.value,
                    cause=each.cause.value,
                    epoch=each.after.epoch,
                    failure_count=each.after.failure_count,
                )


def _apply(
    rule: Rule[Item, Answer], groups: Mapping[str, Sequence[Item]], situations: Situations
) -> tuple[dict[str, Sequence[Answer]], list[Change]]:
    decided = {provider: rule(situations[provider], items) for provider, items in groups.items()}
    answers = {provider: found for provider, (found, _) in decided.items()}
    return answers, [change for _, change in decided.values()]


def _keys(groups: Mapping[str, Sequence[Item]]) -> list[Key]:
    """All breakers on the ways of the items, each once."""
    ways = {item.way for items in groups.values() for item in items}
    return list(dict.fromkeys(key for way in ways for key in way.keys))


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
