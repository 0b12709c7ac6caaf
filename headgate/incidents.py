"""What a backend should know of and can't see: calls nobody decided on, reports nobody got."""

from __future__ import annotations

import enum
import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from headgate import tracing

_log: Final = logging.getLogger("headgate")


class IncidentKind(enum.Enum):
    """What happened."""

    # Nobody decided in time; the call was denied with its fallback text.
    UNREACHABLE_DENIED = "unreachable_denied"
    # Nobody decided in time; the call was let through.
    LET_THROUGH = "let_through"
    # The end of a call could not be reported: its hold is charged when it expires.
    REPORT_LOST = "report_lost"
    # Too many reports wait in the background; the caller waits for its own.
    REPORTS_FULL = "reports_full"


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One incident of one call."""

    kind: IncidentKind
    call_id: str
    operation: str
    # Why. None: nothing failed.
    error: Exception | None = None


class Incidents:
    """Counts incidents by kind, logs them, and tells whoever wants to know.

    With OpenTelemetry installed they are counted in the metric `headgate.client.incidents`, too.
    """

    def __init__(self, listener: Callable[[Incident], None] | None) -> None:
        self._listener = listener
        self._counts: Counter[IncidentKind] = Counter()
        self._lock = threading.Lock()

    @property
    def counts(self) -> Mapping[IncidentKind, int]:
        """How many there were of each kind."""
        with self._lock:
            return dict(self._counts)

    def note(self, incident: Incident) -> None:
        """Notes an incident; a listener that fails is logged and does no harm."""
        with self._lock:
            self._counts[incident.kind] += 1
        kind, error = incident.kind.value, incident.error
        _log.warning("call %s: %s: %s", incident.call_id, kind, error or "no error")
        tracing.count_incident(kind, incident.operation)
        if self._listener is not None:
            try:
                self._listener(incident)
            except Exception:  # noqa: BLE001 - not ours; logged
                _log.exception("the listener for incidents failed")
