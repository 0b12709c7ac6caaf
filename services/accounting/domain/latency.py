"""How long calls took: a histogram of fixed buckets, in one number that can be added.

Bucket b counts in the twelve decimal digits from 10^(12 b) on, so that plain + and SQL's sum() add
histograms, exactly and in any order. Two buckets double the time.
"""

from __future__ import annotations

from typing import Final

# First millisecond of each bucket after the first; the last one has no end. The same stand in
# `latency_weight` of shares.sql; a test compares them.
LATENCY_BOUNDS: Final = (
    *(25, 35, 50, 71, 100, 141, 200, 283, 400, 566, 800, 1_131, 1_600, 2_263, 3_200, 4_525),
    *(6_400, 9_051, 12_800, 18_102, 25_600, 36_204, 51_200, 72_408, 102_400, 144_815, 204_800),
    *(289_631, 409_600, 579_262, 819_200),
)
# Counts of a bucket stay below this: a trillion calls.
BUCKET_SIZE: Final = 10**12


def decode_histogram(packed: int) -> list[int]:
    """Returns the counts of the buckets."""
    counts = []
    for _ in range(len(LATENCY_BOUNDS) + 1):
        packed, count = divmod(packed, BUCKET_SIZE)
        counts.append(count)
    return counts


def percentile_ms(counts: list[int], percent: int) -> int | None:
    """Returns the time within which so many percent of the calls ended, or None without calls.

    Within a bucket calls count as evenly spread, so that it is right to the bucket's width.
    """
    total = sum(counts)
    if not total:
        return None
    # The rank of the call that is meant, from 1: the least one that has enough at or before it.
    rank = max(1, -(-total * percent // 100))
    bucket, before = 0, 0
    while before + counts[bucket] < rank:
        before += counts[bucket]
        bucket += 1
    begin = LATENCY_BOUNDS[bucket - 1] if bucket else 0
    if bucket == len(LATENCY_BOUNDS):
        return begin
    return begin + (LATENCY_BOUNDS[bucket] - begin) * (rank - before) // counts[bucket]
