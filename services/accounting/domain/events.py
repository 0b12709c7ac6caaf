"""Events: what happened, in the words of the catalogue."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.accounting.domain.event_catalogue import CATALOGUE
from services.accounting.domain.event_types import Facts, Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something to write into the outbox. ValueError: the catalogue knows no such event."""

    type: str
    # Empty: the platform.
    org: str
    # What it is about within the org, such as "limit/acme-monthly".
    subject: str
    # One sentence for people.
    title: str
    data: Facts = field(default_factory=dict)
    # None: the type's.
    severity: Severity | None = None

    def __post_init__(self) -> None:
        """Refuses what the catalogue does not promise."""
        known = CATALOGUE.get(self.type)
        if known is None:
            raise ValueError(f"no such type of events: {self.type}")
        if known.facts.keys() != self.data.keys():
            wrong = sorted(known.facts.keys() ^ self.data.keys())
            raise ValueError(f"{self.type} has other facts than its data: {', '.join(wrong)}")

    @property
    def weight(self) -> Severity:
        """How much it matters."""
        return self.severity or CATALOGUE[self.type].severity

    @property
    def version(self) -> int:
        """Version of its data."""
        return CATALOGUE[self.type].version


def is_covered(event_type: str, pattern: str) -> bool:
    """Says whether a pattern covers a type: the type itself, or its beginning up to a dot."""
    return not pattern or event_type == pattern or event_type.startswith(pattern + ".")
