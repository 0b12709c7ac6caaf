"""Which limits apply to a call, and which counters they use.

Of the limits of one shape that match a call, one decides: a temporary one before one that always
applies, then the one with more concrete values, then the one that is concrete in the earlier
dimension.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from services.admission.domain.fences import Fence, Fences
from services.admission.domain.limits import (
    ANY,
    Limit,
    Metric,
    Scope,
    Shape,
    dimension_order,
)
from services.admission.domain.windows import EPOCH, FOREVER, Span, Window, identity, span_at

# Values of the dimensions that any limit is about, in their order; None: the call has none.
Projection: TypeAlias = tuple[str | None, ...]
Values: TypeAlias = tuple[str, ...]

# Made once: `json.dumps` with separators makes an encoder for each call.
_encode: Final = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterKey:
    """Identity of a counter: scope values, metric, window definition and period."""

    counter_id: uuid.UUID
    # Lock order: counters of fewer dimensions are hotter, and are locked later.
    rank: int
    scope: Scope
    metric: Metric
    window: Window
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
    """All limits that apply to calls with the same dimensions at one time."""

    bounds: tuple[BoundLimit, ...]
    # Identity of the set of counters; reservations store it instead of the list.
    set_id: uuid.UUID
    # The binding holds for instants from `valid_from`, inclusive, to `valid_until`, exclusive.
    valid_from: dt.datetime
    valid_until: dt.datetime


class _Term:
    """A period of a shape's window: what the counters of all its scopes share."""

    def __init__(self, metric: Metric, window: Window, instant: dt.datetime) -> None:
        self.span = span_at(window, instant)
        self._metric, self._window = metric, window
        # The end of what identifies a counter.
        parts = [metric.value, *identity(window), self.span.start.isoformat()]
        self._suffix = _encode(parts)[1:]
        # The platform's counter is part of every binding.
        self.platform_key = self.key_of(())

    def key_of(self, scope: Scope) -> CounterKey:
        """Returns the key of a scope's counter."""
        return CounterKey(
            counter_id=_digest(f"[{_encode(scope)},{self._suffix}"),
            rank=-len(scope),
            scope=scope,
            metric=self._metric,
            window=self._window,
            span=self.span,
        )


class _Family:
    """All limits of one shape: what may override what."""

    def __init__(self, shape: Shape) -> None:
        self.names, self._metric, self._window = shape
        # The period that was asked for last: it is the same for hours, and costs to find.
        self._term = _Term(self._metric, self._window, EPOCH)
        self._by_values: dict[Values, list[Limit]] = {}
        # Which dimensions are concrete in some pattern, the most specific first.
        self._masks: list[tuple[bool, ...]] = []

    def add(self, limit: Limit) -> None:
        values = tuple(value for _, value in limit.scope)
        rivals = self._by_values.setdefault(values, [])
        rivals.append(limit)
        rivals.sort(key=lambda each: not each.is_temporary)
        mask = tuple(value != ANY for value in values)
        if mask not in self._masks:
            self._masks.append(mask)
            self._masks.sort(key=lambda each: (sum(each), each), reverse=True)

    def key_at(self, dimensions: Mapping[str, str], instant: dt.datetime) -> CounterKey:
        """Returns the key of the counter that a call with these dimensions uses at `instant`."""
        if not self._term.span.start <= instant < self._term.span.end:
            self._term = _Term(self._metric, self._window, instant)
        if not self.names:
            return self._term.platform_key
        return self._term.key_of(tuple([(name, dimensions[name]) for name in self.names]))

    def matching(self, dimensions: Mapping[str, str]) -> list[Limit]:
        """Returns the limits that match, in the order in which they override each other."""
        try:
            values = [dimensions[name] for name in self.names]
        except KeyError:
            return []
        found: list[Limit] = []
        for mask in self._masks:
            pattern = tuple(
                [value if concrete else ANY for value, concrete in zip(values, mask, strict=True)]
            )
            found += self._by_values.get(pattern, ())
        return found


def _winner(matching: Iterable[Limit], instant: dt.datetime) -> Limit | None:
    """Returns the limit that decides, if one of them applies."""
    for limit in matching:
        if limit.applies_at(instant):
            return limit
    return None


class LimitSet:
    """The limits and fences in force at one version."""

    def __init__(
        self, *, version: int, limits: Iterable[Limit] = (), fences: Iterable[Fence] = ()
    ) -> None:
        self.version = version
        self.limits: Mapping[str, Limit] = {limit.limit_id: limit for limit in limits}
        self.fences = Fences(fences)
        self._families: dict[Shape, _Family] = {}
        for limit in self.limits.values():
            family = self._families.setdefault(limit.shape, _Family(limit.shape))
            family.add(limit)
        names = {name for limit in self.limits.values() for name, _ in limit.scope}
        self._names: Final = tuple(sorted(names, key=dimension_order))

    def project(self, dimensions: Mapping[str, str]) -> Projection:
        """Returns what of a call's dimensions decides which limits apply to it."""
        return tuple([dimensions.get(name) for name in self._names])

    def bind(self, dimensions: Mapping[str, str], instant: dt.datetime) -> Binding:
        """Returns the limits that apply to a call with these dimensions at `instant`."""
        bounds = []
        valid_from, valid_until = EPOCH, FOREVER
        for family in self._families.values():
            matching = family.matching(dimensions)
            for limit in matching:
                if limit.is_temporary:
                    # Another limit may decide from then on.
                    for change in (limit.start, limit.end):
                        valid_from, valid_until = _narrow(valid_from, valid_until, change, instant)
            winner = _winner(matching, instant)
            if winner is None:
                continue
            key = family.key_at(dimensions, instant)
            if not key.span.start <= instant < key.span.end:
                # An interval that is over, or has not begun.
                for change in (key.span.start, key.span.end):
                    valid_from, valid_until = _narrow(valid_from, valid_until, change, instant)
                continue
            bounds.append(BoundLimit(limit=winner, key=key))
            valid_from = max(valid_from, key.span.start)
            valid_until = min(valid_until, key.span.end)
        bounds.sort(key=lambda bound: bound.key.counter_id)
        return Binding(
            bounds=tuple(bounds),
            set_id=_digest("+".join(bound.key.counter_id.hex for bound in bounds)),
            valid_from=valid_from,
            valid_until=valid_until,
        )

    def limit_of(self, key: CounterKey, instant: dt.datetime) -> Limit | None:
        """Returns the limit that gives the cap of a counter, if one applies to it."""
        scope = dict(key.scope)
        family = self._families.get((tuple(scope), key.metric, key.window))
        return _winner(family.matching(scope), instant) if family else None

    def matching(self, dimensions: Mapping[str, str]) -> Iterator[list[Limit]]:
        """Yields, for each shape, the limits that match, the most specific first."""
        for family in self._families.values():
            matching = family.matching(dimensions)
            if matching:
                yield matching


def counter_key(limit: Limit, dimensions: Mapping[str, str], instant: dt.datetime) -> CounterKey:
    """Returns the key of the counter that `limit` uses for a call at `instant`."""
    scope = tuple((name, dimensions[name]) for name, _ in limit.scope)
    return _Term(limit.metric, limit.window, instant).key_of(scope)


def _narrow(
    valid_from: dt.datetime, valid_until: dt.datetime, change: dt.datetime, instant: dt.datetime
) -> tuple[dt.datetime, dt.datetime]:
    if change <= instant:
        return max(valid_from, change), valid_until
    return valid_from, min(valid_until, change)


def _digest(text: str) -> uuid.UUID:
    return uuid.UUID(bytes=hashlib.sha256(text.encode()).digest()[:16])
