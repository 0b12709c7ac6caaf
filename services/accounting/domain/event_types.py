"""What a type of events is. event_catalogue.py has them all."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

# What a fact may be: JSON without fractions, so that no amount is ever rounded.
Fact: TypeAlias = str | int | bool | Mapping[str, str] | None
Facts: TypeAlias = Mapping[str, Fact]


class Severity(enum.IntEnum):
    """How much an event matters."""

    INFO = 1
    WARNING = 2
    CRITICAL = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class EventType:
    """One type of events."""

    name: str
    version: int
    # Severity unless the event says otherwise.
    severity: Severity
    # When it is written. A sentence for docs/events.md.
    meaning: str
    # What is in its data: name -> meaning, with the unit.
    facts: Mapping[str, str]
    # Data as it may look.
    example: Facts
