"""What admission counts of itself."""

from __future__ import annotations

import datetime as dt

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from services.admission.domain.calls import DenialReason, Denied, Ended, State
from services.admission.metrics import Metrics


def counted(reader: InMemoryMetricReader) -> dict[str, dict[object, object]]:
    data = reader.get_metrics_data()
    assert data is not None
    return {
        metric.name: {
            next(iter((point.attributes or {}).values()), None): getattr(point, "value", None)
            for point in metric.data.data_points
        }
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }


def test_batches_and_their_outcomes_add_up() -> None:
    reader = InMemoryMetricReader()
    metrics = Metrics(MeterProvider([reader]).get_meter("tests"))
    ended = Ended(State.SETTLED, 7)
    denied = Denied(DenialReason.FENCED, "stopped")

    metrics.record_batch([ended, denied, ended])
    metrics.record_batch([ended])

    found = counted(reader)
    assert found["headgate.admission.outcomes"] == {"ended": 3, "denied_fenced": 1}
    assert found["headgate.admission.batches"] == {None: 2}


def test_the_last_audit_is_shown_by_guarantee() -> None:
    reader = InMemoryMetricReader()
    metrics = Metrics(MeterProvider([reader]).get_meter("tests"))
    when = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)

    # Before the first audit there is nothing to show.
    before = counted(reader)
    metrics.record_audits({4: (6, when), 5: (0, when)})
    found = counted(reader)

    assert not before.get("headgate.admission.audit.time")
    assert found["headgate.admission.audit.differences"] == {"4": 6, "5": 0}
    assert found["headgate.admission.audit.time"] == {None: when.timestamp()}
