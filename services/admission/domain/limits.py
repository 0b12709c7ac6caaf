"""Limits and how they bind to a call.

A limit is a cap on a metric in a window for every scope that its pattern matches. Limits whose
patterns name the same dimensions share counters: an override changes the cap, not the counter, so
it can't spend a cap twice. Of several that match, the one with more concrete values wins.
"""

from __future__ import annotations

import datetime as dt
import enum
import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.admission.domain.windows import CalendarWindow, Span, span_at

ANY: Final = "*"
# Order of dimensions in override order and in keys. Later dimensions are appended.
DIMENSIONS: Final = ("org",)
# Greatest cap and greatest amount of one call; sums stay far from the end of int64.
AMOUNT_MAX: Final = 10**18


class Metric(enum.IntEnum):
    """What a limit counts; the numbers are those of the contract and the schema."""

    CALLS = 1
    COST = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A cap on what each matching scope may use in a window."""

    limit_id: str
    # Pairs in the order of DIMENSIONS; the value is concrete or ANY. Empty: the platform.
    scope: tuple[tuple[str, str], ...]
    metric: Metric
    window: CalendarWindow
    # Calls, or nano-US-dollars.
    cap: int
    # Whom a denied caller should ask. May be empty.
    owner: str

    @property
    def shape(self) -> tuple[tuple[str, ...], Metric, CalendarWindow]:
        """Limits of one shape share counters and override each other."""
        return (tuple(name for name, _ in self.scope), self.metric, self.window)


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterKey:
    """Identity of a counter: scope values, metric, window definition and period."""

    counter_id: uuid.UUID
    # Lock order: counters of fewer dimensions are hotter, and are locked later.
    rank: int
    scope: tuple[tuple[str, str], ...]
    metric: Metric
    window: CalendarWindow
    span: Span

    @property
    def org(self) -> str:
        """The org the counter belongs to, empty if none: the column that data is spread by."""
        return dict(self.scope).get("org", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundLimit:
    """A limit that applies to a call, with the counter it uses."""

    limit: Limit
    key: CounterKey


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """All limits that apply to calls of one scope at one time."""

    bounds: tuple[BoundLimit, ...]
    # Identity of the set of counters; reservations store it instead of the list.
    set_id: uuid.UUID
    # The binding holds for instants from `valid_from`, inclusive, to `valid_until`, exclusive.
    valid_from: dt.datetime
    valid_until: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """A stop of all calls in its scope. Not a limit: nothing overrides it."""

    fence_id: str
    sequence: int
    active: bool
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSet:
    """The limits and fences in force at one version."""

    version: int
    limits: tuple[Limit, ...]
    fences: tuple[Fence, ...]

    def fence(self) -> Fence | None:
        """Returns the fence that stops all calls, if there is one."""
        return next((fence for fence in self.fences if fence.active), None)

    def bind(self, dimensions: Mapping[str, str], instant: dt.datetime) -> Binding:
        """Returns the limits that apply to a call with these dimensions at `instant`."""
        winners: dict[tuple[tuple[str, ...], Metric, CalendarWindow], Limit] = {}
        for limit in self.limits:
            if not _matches(limit, dimensions):
                continue
            rival = winners.get(limit.shape)
            if rival is None or _concreteness(limit) > _concreteness(rival):
                winners[limit.shape] = limit
        bounds = tuple(
            BoundLimit(limit=limit, key=counter_key(limit, dimensions, instant))
            for limit in winners.values()
        )
        return _binding(tuple(sorted(bounds, key=lambda bound: bound.key.counter_id)), instant)

    def cap_of(self, key: CounterKey) -> int | None:
        """Returns the cap in force on a counter now, or None if no limit applies to it."""
        scope = dict(key.scope)
        matching = [
            limit
            for limit in self.limits
            if limit.shape == (tuple(scope), key.metric, key.window) and _matches(limit, scope)
        ]
        return max(matching, key=_concreteness).cap if matching else None


def counter_key(limit: Limit, dimensions: Mapping[str, str], instant: dt.datetime) -> CounterKey:
    """Returns the key of the counter that `limit` uses for a call at `instant`."""
    scope = tuple((name, dimensions[name]) for name, _ in limit.scope)
    span = span_at(limit.window, instant)
    identity = [
        list(map(list, scope)),
        limit.metric.value,
        limit.window.period.value,
        limit.window.time_zone,
        span.start.isoformat(),
    ]
    return CounterKey(
        counter_id=_digest(json.dumps(identity, separators=(",", ":"))),
        rank=-len(scope),
        scope=scope,
        metric=limit.metric,
        window=limit.window,
        span=span,
    )


def _binding(bounds: tuple[BoundLimit, ...], instant: dt.datetime) -> Binding:
    spans = [bound.key.span for bound in bounds]
    return Binding(
        bounds=bounds,
        set_id=_digest("+".join(bound.key.counter_id.hex for bound in bounds)),
        valid_from=max((span.start for span in spans), default=instant - dt.timedelta(days=1)),
        valid_until=min((span.end for span in spans), default=instant + dt.timedelta(days=1)),
    )


def _matches(limit: Limit, dimensions: Mapping[str, str]) -> bool:
    return all(
        name in dimensions and value in (ANY, dimensions[name]) for name, value in limit.scope
    )


def _concreteness(limit: Limit) -> tuple[int, tuple[bool, ...]]:
    concrete = dict(limit.scope)
    flags = tuple(concrete.get(name, ANY) != ANY for name in DIMENSIONS)
    return (sum(flags), flags)


def _digest(text: str) -> uuid.UUID:
    return uuid.UUID(bytes=hashlib.sha256(text.encode()).digest()[:16])
