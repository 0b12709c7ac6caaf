"""What limits denied, or would have in shadow mode: counted by minute, with a few samples.

Written outside of the decisions' transactions, so that a flood of denials costs little: counts are
gathered in memory and added once in a while. What a crash loses are the last counts.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple

from chassis import database
from services.admission import wire_denials
from services.admission.domain.calls import Denied, Held, Operation, Outcome, Reserve, Violation
from services.admission.domain.limits import Mode
from services.admission.queries import QUERIES

# Samples kept of a limit: a newer one takes the place of the oldest.
SAMPLE_COUNT: Final = 100
# Orgs and limits that are told apart between two writes. Further ones count for nobody by name.
KEY_COUNT_MAX: Final = 10_000
NOBODY: Final = ""


class Key(NamedTuple):
    """Whom a violation is counted for."""

    minute: dt.datetime
    limit_id: str
    org: str
    shadow: bool


@dataclass(slots=True)
class Sum:
    """How often, and how much was asked for."""

    call_count: int = 0
    requested_nanos: int = 0


class Sample(NamedTuple):
    """One call that violated a limit."""

    violation_time: dt.datetime
    org: str
    call: Reserve
    violation: Violation


class Violations:
    """Gathers violations and writes them."""

    def __init__(self, pool: database.Pool) -> None:
        self._pool = pool
        self._sums: dict[Key, Sum] = defaultdict(Sum)
        self._samples: dict[str, deque[Sample]] = {}
        # Where the next sample of a limit goes. Replicas write over each other's.
        self._places: dict[str, int] = defaultdict(int)

    def note(self, operations: Sequence[Operation], outcomes: Sequence[Outcome]) -> None:
        """Counts the violations of a decided batch."""
        now = dt.datetime.now(dt.UTC)
        for operation, outcome in zip(operations, outcomes, strict=True):
            if isinstance(outcome, Denied) and outcome.violations:
                self._add(operation, outcome.violations, now)
            elif isinstance(outcome, Held) and outcome.shadow:
                self._add(operation, outcome.shadow, now)

    def _add(
        self, operation: Operation, violations: Iterable[Violation], now: dt.datetime
    ) -> None:
        assert isinstance(operation, Reserve)  # noqa: S101 - nothing else has violations
        minute = now.replace(second=0, microsecond=0)
        # Several candidates may violate one limit; the call counts once.
        for limit_id, violation in {each.limit.limit_id: each for each in violations}.items():
            shadow = violation.limit.mode is Mode.SHADOW
            key = Key(minute, limit_id, operation.key.org, shadow)
            if key not in self._sums and len(self._sums) >= KEY_COUNT_MAX:
                key = Key(minute, limit_id, NOBODY, shadow)
            found = self._sums[key]
            found.call_count += 1
            found.requested_nanos += violation.candidate.cost_nanos
            samples = self._samples.setdefault(limit_id, deque(maxlen=SAMPLE_COUNT))
            samples.append(Sample(now, operation.key.org, operation, violation))

    async def flush(self) -> None:
        """Writes what was gathered."""
        if not self._sums:
            return
        sums, self._sums = self._sums, defaultdict(Sum)
        samples, self._samples = self._samples, {}
        rows = [self._row(limit_id, each) for limit_id, found in samples.items() for each in found]
        await self._pool.execute(QUERIES.put_samples.sql, *_transpose(rows))
        counts = [
            (*key, each.call_count, Decimal(each.requested_nanos)) for key, each in sums.items()
        ]
        await self._pool.execute(QUERIES.add_violations.sql, *_transpose(counts))

    def _row(self, limit_id: str, sample: Sample) -> tuple[object, ...]:
        place = self._places[limit_id]
        self._places[limit_id] = (place + 1) % SAMPLE_COUNT
        return (
            limit_id,
            place,
            sample.violation_time,
            sample.org,
            sample.call.key.call_id,
            sample.call.operation,
            wire_denials.render_violation(sample.violation).SerializeToString(),
        )


def _transpose(rows: Iterable[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]
