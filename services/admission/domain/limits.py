"""Limits: a cap on a metric in a window, for every scope that a pattern matches.

Limits whose patterns name the same dimensions share counters: an override changes the cap, not
the counter, so it can't spend a cap twice.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from services.admission.domain.windows import EPOCH, FOREVER, Window

ANY: Final = "*"
LABEL_PREFIX: Final = "label."
# Order of dimensions in overrides and in keys; labels follow, by name.
DIMENSIONS: Final = (
    "org", "team", "user", "session", "ip", "caller", "api_key", "operation", "feature",
    "provider", "model",
)  # fmt: skip
_RANKS: Final = {name: rank for rank, name in enumerate(DIMENSIONS)}
# What "caller" is: the first of these that a call has.
CALLER_PARTS: Final = ("user", "session", "ip")
# Greatest cap and greatest amount of one call; sums stay far from the end of int64.
AMOUNT_MAX: Final = 10**18
PERCENT: Final = 100
ALERT_PERCENTS: Final = (50, 80, 100)

# Dimension and value, in order of dimension.
Scope: TypeAlias = tuple[tuple[str, str], ...]


class Metric(enum.IntEnum):
    """What a limit counts; the numbers are those of the contract and the schema."""

    CALLS = 1
    COST = 2
    TOKENS = 3
    CONCURRENCY = 4


class Mode(enum.IntEnum):
    """What a limit does when it is exceeded; numbers as in the contract."""

    ENFORCE = 1
    SHADOW = 2
    OFF = 3


class Priority(enum.IntEnum):
    """How important a call is when room is short; numbers as in the contract."""

    CRITICAL = 1
    DEFAULT = 2
    SHEDDABLE = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Percents of a cap that lower priorities may use."""

    default_percent: int = PERCENT
    sheddable_percent: int = PERCENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A cap on what each matching scope may use in a window."""

    limit_id: str
    # In the order of dimensions; the value is concrete or ANY. Empty: the platform.
    scope: Scope
    metric: Metric
    window: Window
    # In the metric's unit.
    cap: int
    # Whom a denied caller should ask. May be empty.
    owner: str = ""
    mode: Mode = Mode.ENFORCE
    # Applies from `start`, inclusive, to `end`, exclusive.
    start: dt.datetime = EPOCH
    end: dt.datetime = FOREVER
    shares: Shares = Shares()
    # Percents of the cap at which what is settled raises an alert, ascending.
    alert_percents: tuple[int, ...] = ALERT_PERCENTS
    # Of the limits, when this one was last written.
    version: int = field(default=0, compare=False)
    # How much of the cap calls of each priority may use, by the priority's number.
    usable_caps: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        percents = (0, PERCENT, self.shares.default_percent, self.shares.sheddable_percent)
        usable = tuple(self.cap * percent // PERCENT for percent in percents)
        object.__setattr__(self, "usable_caps", usable)

    @property
    def shape(self) -> Shape:
        """Limits of one shape share counters and override each other."""
        return (tuple(name for name, _ in self.scope), self.metric, self.window)

    @property
    def is_temporary(self) -> bool:
        """True if it applies for a time only; then it goes before one that always applies."""
        return (self.start, self.end) != (EPOCH, FOREVER)

    def applies_at(self, instant: dt.datetime) -> bool:
        """Tells whether it is switched on and valid."""
        return self.mode is not Mode.OFF and self.start <= instant < self.end


# Names of the dimensions, metric, window.
Shape: TypeAlias = tuple[tuple[str, ...], Metric, Window]


def dimension_order(name: str) -> tuple[int, str]:
    """Sorts dimensions: the named ones in their order, then labels by name."""
    return (_RANKS.get(name, len(_RANKS)), name)


def is_dimension(name: str) -> bool:
    """Tells whether a limit can be about this dimension."""
    return name in _RANKS or (name.startswith(LABEL_PREFIX) and len(name) > len(LABEL_PREFIX))


def ordered(values: Mapping[str, str]) -> Scope:
    """Returns dimensions and values in order of dimension."""
    return tuple(sorted(values.items(), key=lambda pair: dimension_order(pair[0])))


def with_caller(dimensions: dict[str, str]) -> dict[str, str]:
    """Adds the dimension "caller": the first present of user, session and ip, with its kind."""
    for part in CALLER_PARTS:
        if part in dimensions:
            dimensions["caller"] = f"{part}:{dimensions[part]}"
            break
    return dimensions
