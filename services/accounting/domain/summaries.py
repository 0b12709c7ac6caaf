"""Sums of usage: what can be asked, which table answers, and what is answered."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final


class Dimension(enum.IntEnum):
    """What usage can be grouped by; the numbers are the contract's."""

    DAY = 1
    ORG = 2
    OPERATION = 3
    PROVIDER = 4
    MODEL = 5
    HOUR = 6
    MONTH = 7
    API_KEY = 8
    USER = 9
    TEAM = 10
    FEATURE = 11
    LABEL = 12


PERIODS: Final = frozenset({Dimension.HOUR, Dimension.DAY, Dimension.MONTH})
# Each has rollups of its own, by org and day only. The values are names of the schema.
VALUED: Final = {
    Dimension.API_KEY: "api_key",
    Dimension.USER: "user",
    Dimension.TEAM: "team",
    Dimension.FEATURE: "feature",
    Dimension.LABEL: "label",
}


class Source(enum.IntEnum):
    """Which table answers a usage query; the numbers are the contract's."""

    LOG = 1
    ROLLUP = 2
    HOURLY_ROLLUP = 3


class Level(enum.IntEnum):
    """A kind of rollup; the numbers are the schema's."""

    ORG_HOUR = 1
    ORG_DAY = 2
    DIMENSION_DAY = 3
    PLATFORM_DAY = 4

    @property
    def source(self) -> Source:
        """What the answer says it comes from."""
        return Source.HOURLY_ROLLUP if self is Level.ORG_HOUR else Source.ROLLUP


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageQuery:
    """Asks for sums of usage. Empty texts leave nothing out."""

    # First instant of admission, and the one after the last.
    start: dt.datetime
    end: dt.datetime
    org: str = ""
    operation: str = ""
    provider: str = ""
    model: str = ""
    # Required values by dimension: "api_key", "user", "team", "feature", "label.KEY".
    values: Mapping[str, str] = field(default_factory=dict)
    group_by: frozenset[Dimension] = frozenset()
    # The label that LABEL splits by.
    label_key: str = ""

    @property
    def split(self) -> str:
        """The dimension that has values to split by, as the schema names it. Empty: none."""
        for dimension, name in VALUED.items():
            if dimension in self.group_by:
                return f"label.{self.label_key}" if dimension is Dimension.LABEL else name
        return ""


def choose_level(query: UsageQuery) -> Level | None:
    """Returns the smallest rollups that can answer, or None: only the log can."""
    by_hour = Dimension.HOUR in query.group_by or not _starts_day(query.start, query.end)
    by_model = query.operation or query.provider or query.model or query.group_by & _BY_MODEL
    dimensions = {*query.values, *filter(None, [query.split])}
    if dimensions:
        return None if by_hour or by_model or len(dimensions) > 1 else Level.DIMENSION_DAY
    if by_hour:
        return Level.ORG_HOUR if _starts_hour(query.start, query.end) else None
    if by_model or query.org or Dimension.ORG in query.group_by:
        return Level.ORG_DAY
    return Level.PLATFORM_DAY


@dataclass(slots=True, kw_only=True)
class UsageSums:
    """Sums over bookings that share the values of the grouped dimensions.

    A dimension that is not grouped by is empty.
    """

    # First day of the period, and its hour. None, 0: not grouped by a period.
    day: dt.date | None = None
    hour: int = 0
    org: str = ""
    operation: str = ""
    provider: str = ""
    model: str = ""
    # Whether the calls have a value of the dimension that splits, and which. Empty although they
    # have one: all values beyond the bound.
    has_value: bool = False
    value: str = ""
    call_count: int
    failed_count: int
    unreported_count: int
    cost_nanos: int
    unreported_cost_nanos: int
    # None: no call had a baseline.
    baseline_nanos: int | None
    # See `domain.latency`.
    latency_histogram: int
    # Sums of the meters, in the order of `Meter`. None: nobody reported it.
    meters: tuple[int | None, ...]
    # Baselines less costs. None: no call had a baseline.
    saved_nanos: int | None = None
    # Calls that a person approved.
    approved_count: int = 0
    # By metric: how many calls have a score, and the sum of their millionths.
    scores: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def add_all(rows: Iterable[UsageSums]) -> UsageSums | None:
    """Returns the sums over all rows, or None if there is none."""
    total: UsageSums | None = None
    for row in rows:
        if total is None:
            total = UsageSums(
                call_count=0,
                failed_count=0,
                unreported_count=0,
                cost_nanos=0,
                unreported_cost_nanos=0,
                baseline_nanos=None,
                latency_histogram=0,
                meters=(None,) * len(row.meters),
            )
        total.call_count += row.call_count
        total.failed_count += row.failed_count
        total.unreported_count += row.unreported_count
        total.cost_nanos += row.cost_nanos
        total.unreported_cost_nanos += row.unreported_cost_nanos
        total.baseline_nanos = _plus(total.baseline_nanos, row.baseline_nanos)
        total.latency_histogram += row.latency_histogram
        total.meters = tuple(map(_plus, total.meters, row.meters))
        total.saved_nanos = _plus(total.saved_nanos, row.saved_nanos)
        total.approved_count += row.approved_count
    return total


_BY_MODEL: Final = frozenset({Dimension.OPERATION, Dimension.PROVIDER, Dimension.MODEL})


def _plus(left: int | None, right: int | None) -> int | None:
    if left is None or right is None:
        return left if right is None else right
    return left + right


def _starts_hour(*instants: dt.datetime) -> bool:
    return all((each.minute, each.second, each.microsecond) == (0, 0, 0) for each in instants)


def _starts_day(*instants: dt.datetime) -> bool:
    return _starts_hour(*instants) and all(each.hour == 0 for each in instants)
