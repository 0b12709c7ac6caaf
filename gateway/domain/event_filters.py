"""Which events somebody wants to hear of."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """What a watcher asked for. Empty: nothing is left out."""

    # None: any. Empty: the platform's own.
    org: str | None = None
    # Types, or their beginnings up to a dot.
    types: tuple[str, ...] = ()
    severity_min: int = 0

    def covers(self, *, org: str, event_type: str, severity: int) -> bool:
        """Says whether an event is wanted."""
        if severity < self.severity_min or self.org not in (None, org):
            return False
        return not self.types or any(
            event_type == each or event_type.startswith(f"{each}.") for each in self.types
        )
