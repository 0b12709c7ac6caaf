"""What admission counts of itself, once a batch."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Mapping

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from services.admission.domain.calls import Denied, Outcome


class Metrics:
    """Batches and their outcomes.

    What each batch counts is kept here and read when somebody asks: the meter's own counters take
    four times as long.
    """

    def __init__(self, meter: Meter) -> None:
        self._batch_count = 0
        self._outcome_counts: Counter[str] = Counter()
        meter.create_observable_counter(
            "headgate.admission.outcomes",
            [self._observe_outcomes],
            unit="{operation}",
            description="Operations decided.",
        )
        meter.create_observable_counter(
            "headgate.admission.batches",
            [self._observe_batches],
            unit="{batch}",
            description="Transactions that decided them.",
        )
        # By guarantee: differences at the last audit, and when that was.
        self._audits: Mapping[int, tuple[int, dt.datetime]] = {}
        meter.create_observable_gauge(
            "headgate.admission.audit.differences",
            [self._observe_audits],
            unit="{difference}",
            description="What the last audit found, by the number of the guarantee.",
        )
        meter.create_observable_gauge(
            "headgate.admission.audit.time",
            [self._observe_audit_time],
            unit="s",
            description="When the last audit was, in seconds since 1970.",
        )
        self._settlements = meter.create_counter(
            "headgate.admission.feed.settlements",
            unit="{settlement}",
            description="Settlements that came by the feed first.",
        )
        self._expired = meter.create_counter(
            "headgate.admission.expired", unit="{call}", description="Holds ended by the sweeper."
        )

    def record_batch(self, outcomes: Iterable[Outcome]) -> None:
        """Counts one batch's outcomes by kind."""
        self._batch_count += 1
        self._outcome_counts.update(map(_kind, outcomes))

    def record_feed(self, count: int) -> None:
        """Counts settlements that the feed brought before anybody else."""
        if count:
            self._settlements.add(count)

    def record_sweep(self, count: int) -> None:
        """Counts holds that ended because their time had passed."""
        if count:
            self._expired.add(count)

    def record_audits(self, results: Mapping[int, tuple[int, dt.datetime]]) -> None:
        """Notes what the last audit found."""
        self._audits = results

    def _observe_audits(self, _: CallbackOptions) -> Iterable[Observation]:
        for guarantee, (count, _time) in self._audits.items():
            yield Observation(count, {"guarantee": str(guarantee)})

    def _observe_audit_time(self, _: CallbackOptions) -> Iterable[Observation]:
        if self._audits:
            yield Observation(min(when.timestamp() for _, when in self._audits.values()))

    def _observe_outcomes(self, _: CallbackOptions) -> Iterable[Observation]:
        for kind, count in list(self._outcome_counts.items()):
            yield Observation(count, {"outcome": kind})

    def _observe_batches(self, _: CallbackOptions) -> Iterable[Observation]:
        yield Observation(self._batch_count)


def _kind(outcome: Outcome) -> str:
    if isinstance(outcome, Denied):
        return f"denied_{outcome.reason.name.lower()}"
    return type(outcome).__name__.lower()
