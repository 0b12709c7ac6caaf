"""Adaptive estimates: what calls of one kind hardly ever exceed, learned from those that ended.

A call's share is the greater of settled cost over worst-case cost and of the same in tokens.
Shares are counted in a histogram of fixed buckets for each operation and model; the estimate is
the upper edge of the bucket that holds the 99th percentile.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from services.admission.domain.calls import Reservation, State

# Buckets of a histogram of shares: a hundredth each, the last one for all above the worst case.
BUCKET_COUNT: Final = 101
# Fewer calls than this tell nothing: the worst case is held.
CALL_COUNT_MIN: Final = 50
QUANTILE_PERCENT: Final = 99
# From this percent of a cap on the worst case is held again.
STRICT_FROM_PERCENT: Final = 80


class Kind(NamedTuple):
    """Calls that are alike: what they were for, and where they went."""

    operation: str
    provider: str
    model: str


class Amounts(NamedTuple):
    """What a call holds."""

    nanos: int
    tokens: int

    def by_metric(self) -> tuple[int, ...]:
        """Returns what is held on a counter, by the number of its metric."""
        return (0, 1, self.nanos, self.tokens, 1)


def bucket_of(ended: Reservation) -> int | None:
    """Returns the bucket of a reported call's share; None if it tells nothing."""
    if ended.state is not State.SETTLED or not ended.set_id:
        return None
    shares = [
        -(-100 * used // worst)
        for used, worst in (
            (ended.settled_nanos, ended.worst_nanos),
            (ended.settled_tokens, ended.worst_tokens),
        )
        if worst
    ]
    return min(max(shares), BUCKET_COUNT - 1) if shares else None


def percentile(histogram: Mapping[int, int]) -> int | None:
    """Returns the percent of the worst case that 99 of 100 calls stayed within.

    None: too few calls are known.
    """
    total = sum(histogram.values())
    if total < CALL_COUNT_MIN:
        return None
    seen, bucket, buckets = 0, 0, iter(sorted(histogram))
    while seen * 100 < total * QUANTILE_PERCENT:
        bucket = next(buckets)
        seen += histogram[bucket]
    return bucket


def adapt(worst: Amounts, *, share_percent: int, factor_percent: int) -> Amounts:
    """Returns what to hold: the learned share times a factor, at most the worst case."""
    percent = share_percent * factor_percent
    return Amounts(
        min(worst.nanos, -(-worst.nanos * percent // 10_000)),
        min(worst.tokens, -(-worst.tokens * percent // 10_000)),
    )
