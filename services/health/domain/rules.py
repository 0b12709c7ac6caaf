"""When breakers open, how long for, and how they close again."""

from __future__ import annotations

import datetime as dt
import zlib
from dataclasses import dataclass
from typing import Final

# Exponents beyond this are at the cap whatever the growth.
_GROWTH_STEPS_MAX: Final = 64
_CRC_MAX: Final = 2**32 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerRules:
    """The settings of all breakers."""

    # Failures in a row, fleet-wide in commit order, that open a closed breaker.
    failure_threshold: int
    # How long an open breaker refuses before it lets probes pass, the first time.
    open_duration: dt.timedelta
    # Most probes outstanding at once, fleet-wide.
    probe_count_max: int
    # Successful probes that close a half-open breaker.
    probe_success_threshold: int
    # How long a probe's permit lives without an outcome.
    probe_duration: dt.timedelta
    # Each opening that follows another one soon lasts so many times longer, up to the longest.
    open_growth: float = 2.0
    open_duration_max: dt.timedelta = dt.timedelta(minutes=15)
    # A breaker that stayed closed for so long begins anew with the shortest.
    calm_duration: dt.timedelta = dt.timedelta(minutes=10)
    # Share by which a duration differs, so that not all breakers probe at once.
    jitter: float = 0.1
    # Share of calls in the window that must fail, and that must be slow, to open a breaker.
    failure_rate: float = 0.5
    slow_rate: float = 0.8
    # Calls in the window below which rates say nothing.
    rate_call_count: int = 20
    # What is slow.
    slow_duration: dt.timedelta = dt.timedelta(seconds=60)
    # How long a credential cools when the provider does not say, and at most.
    cool_duration: dt.timedelta = dt.timedelta(seconds=5)
    cool_duration_max: dt.timedelta = dt.timedelta(hours=1)

    def open_duration_of(self, *, open_count: int, seed: str) -> dt.timedelta:
        """Returns how long the n-th opening lasts; the seed decides on the jitter, repeatably."""
        steps = min(max(open_count - 1, 0), _GROWTH_STEPS_MAX)
        seconds = self.open_duration.total_seconds() * self.open_growth**steps
        seconds = min(seconds, max(self.open_duration_max, self.open_duration).total_seconds())
        share = 2 * zlib.crc32(seed.encode()) / _CRC_MAX - 1
        return dt.timedelta(seconds=seconds * (1 + self.jitter * share))
