"""Sums of usage: what can be asked, and what is answered."""

from __future__ import annotations

import datetime as dt
import enum
from dataclasses import dataclass


@dataclass(slots=True)
class UsageSums:
    """Sums over bookings that share the values of the grouped dimensions.

    A dimension that is not grouped by is empty.
    """

    day: dt.date | None
    org: str
    operation: str
    provider: str
    model: str
    call_count: int
    failed_count: int
    unreported_count: int
    cost_nanos: int
    unreported_cost_nanos: int
    # Sums of the meters, in the order of `Meter`. None: nobody reported it.
    meters: tuple[int | None, ...]


class Dimension(enum.IntEnum):
    """What usage can be grouped by; the numbers are the contract's."""

    DAY = 1
    ORG = 2
    OPERATION = 3
    PROVIDER = 4
    MODEL = 5


class Source(enum.IntEnum):
    """Which table answers a usage query; the numbers are the contract's."""

    LOG = 1
    ROLLUP = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageQuery:
    """Asks for sums of usage."""

    # First day of admission in UTC.
    start_day: dt.date
    # Last day, inclusive.
    end_day: dt.date
    # Only this org. Empty: all.
    org: str
    group_by: frozenset[Dimension]
    source: Source

    @property
    def platform_only(self) -> bool:
        """Whether the platform's own rollup can answer."""
        return not self.org and self.group_by <= {Dimension.DAY}
