"""Counts what calls come to, for the rates that open breakers and for the figures that people see.

Outcomes are counted in memory and written together: a provider's every few seconds, and every
second while some of its calls fail or are slow; a part's only while they do. So what is healthy
costs one write in a few seconds, however many calls there are.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import structlog

from chassis.notifications import DATABASE_ERRORS
from services.health.breakers import log_moves
from services.health.circuit_store import CircuitStore, Weighed
from services.health.domain import decisions, windows
from services.health.domain.breakers import Change, Key, Observation, Situation
from services.health.domain.rules import BreakerRules
from services.health.domain.signals import Signal
from services.health.domain.windows import SLOT_COUNT, SLOT_SECONDS, Slot, Tally, Window

# How often failing calls are judged, and how often healthy providers are written.
JUDGE_SECONDS: Final = 1.0
WRITE_SECONDS: Final = 5.0
# Breakers that are counted at once; outcomes of others beyond that count for no rate.
KEY_COUNT_MAX: Final = 10_000

log = structlog.get_logger()


class Tallies:
    """Counts outcomes of this process, and judges them together with those of the others."""

    def __init__(
        self,
        store: CircuitStore,
        rules: BreakerRules,
        *,
        now: Callable[[], float] | None = None,
    ) -> None:
        self._store = store
        self._rules = rules
        self._now = now or (lambda: asyncio.get_running_loop().time())
        # By breaker: slots by the number of their stretch of this process's monotonic clock.
        self._pending: dict[Key, dict[int, Slot]] = {}
        # Breakers whose last minute has trouble in it, as last written.
        self._troubled: set[Key] = set()
        self._written: dict[str, float] = {}

    def count(self, observation: Observation) -> None:
        """Counts one outcome that its breakers heard."""
        if observation.signal not in (Signal.SUCCEEDED, Signal.FAILED):
            return
        failed = observation.signal is Signal.FAILED
        latency = observation.latency
        slow = not failed and latency is not None and latency >= self._rules.slow_duration
        tally = Tally(call_count=1, failed_count=int(failed), slow_count=int(slow))
        number = int(self._now() // SLOT_SECONDS)
        for key in observation.way.keys:
            if key not in self._pending and len(self._pending) >= KEY_COUNT_MAX:
                continue
            slot = self._pending.setdefault(key, {}).setdefault(number, Slot())
            slot.count(observation.call.org, tally)
            if key.is_provider and latency is not None:
                slot.time(windows.bucket_of(latency))

    async def run(self) -> None:
        """Judges and writes until cancelled."""
        while True:
            await asyncio.sleep(JUDGE_SECONDS)
            try:
                await self.flush()
            except DATABASE_ERRORS as error:
                log.warning("tallies_not_written", error=repr(error))

    async def flush(self, *, everything: bool = False) -> None:
        """Writes what is due, and opens the breakers whose rates say so."""
        self._forget_old()
        for provider in self._due(everything=everything):
            await self._flush_provider(provider)
        for provider in await self._store.list_old_figures():
            # Nobody calls it any more: its figures must not stand for ever.
            await self._flush_provider(provider)

    async def _flush_provider(self, provider: str) -> None:
        keys = [key for key in self._pending if key.provider == provider and self._is_due(key)]
        keys += [key for key in self._troubled if key.provider == provider and key not in keys]
        taken = {key: self._pending.pop(key, {}) for key in keys}
        age = self._now()

        def decide(situation: Situation, known: Mapping[Key, Window]) -> Weighed:
            return _weigh(situation, known, taken, monotonic=age, rules=self._rules)

        try:
            change, troubled = await self._weigh(provider, keys, decide)
        except DATABASE_ERRORS:
            # A commit whose answer was lost may count twice; the rates bear it.
            for key, slots in taken.items():
                self._put_back(key, slots)
            raise
        self._written[provider] = age
        self._troubled = {key for key in self._troubled if key.provider != provider} | troubled
        log_moves([change])

    async def _weigh(
        self,
        provider: str,
        keys: Iterable[Key],
        decide: Callable[[Situation, Mapping[Key, Window]], Weighed],
    ) -> tuple[Change, set[Key]]:
        troubled: set[Key] = set()

        def watch(situation: Situation, known: Mapping[Key, Window]) -> Weighed:
            weighed = decide(situation, known)
            troubled.clear()
            troubled.update(
                key
                for key, (window, _) in weighed.windows.items()
                if any(slot.is_troubled for slot in window.values())
            )
            return weighed

        return await self._store.weigh(provider, keys, watch), troubled

    def _put_back(self, key: Key, slots: Mapping[int, Slot]) -> None:
        for number, slot in slots.items():
            self._pending.setdefault(key, {}).setdefault(number, Slot()).add(slot)

    def _due(self, *, everything: bool) -> list[str]:
        now = self._now()
        return sorted(
            provider
            for provider in {key.provider for key in (*self._pending, *self._troubled)}
            if everything
            or now - self._written.get(provider, float("-inf")) >= WRITE_SECONDS
            or any(
                key.provider == provider and self._is_due(key) and not key.is_provider
                for key in self._pending
            )
            or self._is_troubled(Key(provider=provider))
        )

    def _is_due(self, key: Key) -> bool:
        return key.is_provider or self._is_troubled(key)

    def _is_troubled(self, key: Key) -> bool:
        pending = self._pending.get(key, {})
        return key in self._troubled or any(slot.is_troubled for slot in pending.values())

    def _forget_old(self) -> None:
        """Drops what is too old to count: parts whose calls went well are never written."""
        oldest = int(self._now() // SLOT_SECONDS) - SLOT_COUNT
        for key, slots in list(self._pending.items()):
            for number in [each for each in slots if each <= oldest]:
                del slots[number]
            if not slots:
                del self._pending[key]


def _weigh(
    situation: Situation,
    known: Mapping[Key, Window],
    taken: Mapping[Key, Mapping[int, Slot]],
    *,
    monotonic: float,
    rules: BreakerRules,
) -> Weighed:
    """Merges what was counted into the windows and judges each breaker by its own."""
    merged = {
        key: windows.merged(
            known.get(key, {}),
            _on_the_database_clock(slots, monotonic, situation.now),
            now=situation.now,
        )
        for key, slots in {Key(provider=situation.provider): {}, **taken}.items()
    }
    causes = {
        key: cause
        for key, window in merged.items()
        if (cause := windows.judge(situation.breakers[key], window, rules=rules)) is not None
    }
    return Weighed(
        change=decisions.trip(situation, causes, rules=rules),
        windows={key: (window, windows.figures_of(window)) for key, window in merged.items()},
    )


def _on_the_database_clock(
    slots: Mapping[int, Slot], monotonic: float, now: dt.datetime
) -> dict[int, Slot]:
    moved: dict[int, Slot] = {}
    for number, slot in slots.items():
        # Counted some time within the slot; the present one ends now.
        age = max(monotonic - (number + 1) * SLOT_SECONDS, 0.0)
        when = windows.slot_of(now - dt.timedelta(seconds=age))
        moved.setdefault(when, Slot()).add(slot)
    return moved
