"""What admission counts of itself, once a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from opentelemetry.metrics import Meter

from services.admission.domain.calls import Denied, Outcome


class Metrics:
    """Batches and their outcomes."""

    def __init__(self, meter: Meter) -> None:
        self._outcomes = meter.create_counter(
            "headgate.admission.outcomes", unit="{operation}", description="Operations decided."
        )
        self._batch_sizes = meter.create_histogram(
            "headgate.admission.batch.size", unit="{operation}", description="Operations a batch."
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
        kinds = Counter(_kind(outcome) for outcome in outcomes)
        for kind, count in kinds.items():
            self._outcomes.add(count, {"outcome": kind})
        self._batch_sizes.record(kinds.total())

    def record_feed(self, count: int) -> None:
        """Counts settlements that the feed brought before anybody else."""
        if count:
            self._settlements.add(count)

    def record_sweep(self, count: int) -> None:
        """Counts holds that ended because their time had passed."""
        if count:
            self._expired.add(count)


def _kind(outcome: Outcome) -> str:
    if isinstance(outcome, Denied):
        return f"denied_{outcome.reason.name.lower()}"
    return type(outcome).__name__.lower()
