"""How long calls took: exact to a bucket, whatever was added to what."""

from __future__ import annotations

from bisect import bisect_right

from hypothesis import given
from hypothesis import strategies as st

from services.accounting.domain.latency import (
    BUCKET_SIZE,
    LATENCY_BOUNDS,
    decode_histogram,
    percentile_ms,
)


def pack(times: list[int]) -> int:
    return sum(BUCKET_SIZE ** bisect_right(LATENCY_BOUNDS, each) for each in times)


@given(st.lists(st.integers(0, 10**6)), st.lists(st.integers(0, 10**6)))
def test_histograms_are_added_like_numbers(left: list[int], right: list[int]) -> None:
    both = decode_histogram(pack(left) + pack(right))

    assert both == decode_histogram(pack(left + right))
    assert sum(both) == len(left) + len(right)


@given(st.lists(st.integers(0, 819_199), min_size=1), st.integers(1, 100))
def test_a_percentile_lies_in_the_bucket_of_the_call_that_is_meant(
    times: list[int], percent: int
) -> None:
    exact = sorted(times)[max(1, -(-len(times) * percent // 100)) - 1]
    found = percentile_ms(decode_histogram(pack(times)), percent)

    assert found is not None
    bucket = bisect_right(LATENCY_BOUNDS, exact)
    assert (LATENCY_BOUNDS[bucket - 1] if bucket else 0) <= found <= LATENCY_BOUNDS[bucket]


def test_nothing_has_no_percentile_and_what_is_beyond_the_last_bound_has_the_bound() -> None:
    assert percentile_ms(decode_histogram(0), 50) is None
    assert percentile_ms(decode_histogram(pack([10**9])), 99) == LATENCY_BOUNDS[-1]


def test_two_buckets_double_the_time() -> None:
    ratios = [
        later / earlier for earlier, later in zip(LATENCY_BOUNDS, LATENCY_BOUNDS[2:], strict=False)
    ]

    assert all(1.96 < ratio < 2.06 for ratio in ratios)
