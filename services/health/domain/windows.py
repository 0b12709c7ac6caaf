"""The last minute of a breaker's calls: how many failed and how many were slow, by org.

Counted in slots, so that old ones fall out as a whole. The rates decide over all orgs, and once
more without the org that fails most: nobody opens a breaker for others alone.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from services.health.domain.breakers import Breaker, BreakerState, Cause, Key
from services.health.domain.rules import BreakerRules

SLOT_SECONDS: Final = 10
SLOT_COUNT: Final = 6
# Orgs that a slot tells apart; the others are counted together.
ORG_COUNT_MAX: Final = 16
OTHERS: Final = ""
# Buckets of latency: so many to each doubling, in milliseconds.
BUCKETS_PER_DOUBLING: Final = 4
BUCKET_MAX: Final = 120


@dataclass(slots=True)
class Tally:
    """Calls of one org in one slot."""

    call_count: int = 0
    failed_count: int = 0
    # Of the calls that succeeded.
    slow_count: int = 0

    def add(self, other: Tally) -> None:
        """Adds another tally's counts."""
        self.call_count += other.call_count
        self.failed_count += other.failed_count
        self.slow_count += other.slow_count


@dataclass(slots=True)
class Slot:
    """Calls of one stretch of time."""

    tallies: dict[str, Tally] = field(default_factory=dict)
    # Calls by bucket of latency.
    latencies: dict[int, int] = field(default_factory=dict)

    def count(self, org: str, tally: Tally) -> None:
        """Counts calls of an org."""
        if org not in self.tallies and len(self.tallies) >= ORG_COUNT_MAX:
            org = OTHERS
        self.tallies.setdefault(org, Tally()).add(tally)

    def time(self, bucket: int, count: int = 1) -> None:
        """Counts calls of a latency."""
        self.latencies[bucket] = self.latencies.get(bucket, 0) + count

    def add(self, other: Slot) -> None:
        """Adds another slot's calls."""
        for org, tally in other.tallies.items():
            self.count(org, tally)
        for bucket, count in other.latencies.items():
            self.time(bucket, count)

    @property
    def is_troubled(self) -> bool:
        """True if a call in it failed or was slow."""
        return any(each.failed_count or each.slow_count for each in self.tallies.values())


# Slots by the number of their stretch of time since 1970.
Window = dict[int, Slot]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the last minute says, rounded: it is news only when it differs visibly."""

    call_count: int = 0
    error_rate_percent: int = 0
    # None: no latency is known.
    latency_p50_ms: int | None = None
    latency_p95_ms: int | None = None


def slot_of(instant: dt.datetime) -> int:
    """Returns the number of an instant's slot."""
    return int(instant.timestamp() // SLOT_SECONDS)


def bucket_of(latency: dt.timedelta) -> int:
    """Returns the bucket of a latency."""
    milliseconds = max(latency / dt.timedelta(milliseconds=1), 1.0)
    return min(round(BUCKETS_PER_DOUBLING * math.log2(milliseconds)), BUCKET_MAX)


def merged(window: Mapping[int, Slot], added: Mapping[int, Slot], *, now: dt.datetime) -> Window:
    """Returns the window with more calls and without what is too old, or from the future."""
    newest = slot_of(now)
    result: Window = {}
    for part in (window, added):
        for number, slot in part.items():
            if newest - SLOT_COUNT < number <= newest:
                result.setdefault(number, Slot()).add(slot)
    return result


def judge(breaker: Breaker, window: Mapping[int, Slot], *, rules: BreakerRules) -> Cause | None:
    """Returns why a closed breaker must open, if its rates say so."""
    if breaker.state is not BreakerState.CLOSED:
        return None
    since = slot_of(breaker.change_time) if breaker.change_time is not None else -1
    total = _sum(slot for number, slot in window.items() if number > since)
    if _exceeds(breaker.key, total, "failed_count", rules.failure_rate, rules):
        return Cause.FAILURE_RATE
    if _exceeds(breaker.key, total, "slow_count", rules.slow_rate, rules):
        return Cause.SLOW_CALLS
    return None


def figures_of(window: Mapping[int, Slot]) -> Figures:
    """Returns what the window says to people."""
    total = _sum(window.values())
    calls = sum(tally.call_count for tally in total.tallies.values())
    failed = sum(tally.failed_count for tally in total.tallies.values())
    return Figures(
        call_count=calls,
        error_rate_percent=math.ceil(100 * failed / calls) if calls else 0,
        latency_p50_ms=_percentile(total.latencies, 0.50),
        latency_p95_ms=_percentile(total.latencies, 0.95),
    )


def _exceeds(key: Key, total: Slot, what: str, rate: float, rules: BreakerRules) -> bool:
    calls = sum(tally.call_count for tally in total.tallies.values())
    bad = sum(getattr(tally, what) for tally in total.tallies.values())
    if calls < rules.rate_call_count or bad < rate * calls:
        return False
    if key.credential:
        return True
    worst = max(total.tallies.values(), key=lambda tally: int(getattr(tally, what)))
    other_calls, other_bad = calls - worst.call_count, bad - getattr(worst, what)
    return bool(other_bad > 0 and other_bad >= rate * other_calls)


def _sum(slots: Iterable[Slot]) -> Slot:
    total = Slot()
    for slot in slots:
        total.add(slot)
    return total


def _percentile(latencies: Mapping[int, int], share: float) -> int | None:
    wanted = share * sum(latencies.values())
    passed = 0
    for bucket in sorted(latencies):
        passed += latencies[bucket]
        if passed >= wanted:
            return round(2 ** (bucket / BUCKETS_PER_DOUBLING))
    return None
