"""Rules of alerts: when a condition that is noticed again is told again."""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from services.accounting.domain.event_types import Severity
from services.accounting.domain.events import Event, is_covered

# A condition that lasts is told again after this.
REPEAT_AFTER: Final = dt.timedelta(minutes=60)


class AlertState(enum.IntEnum):
    """Where an alert stands."""

    OPEN = 1
    ACKNOWLEDGED = 2
    RESOLVED = 3


class AlertAction(enum.IntEnum):
    """A step in an alert's history."""

    RAISED = 1
    REPEATED = 2
    ESCALATED = 3
    ACKNOWLEDGED = 4
    RESOLVED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """Something that is wrong now."""

    # Names it, such as "unpriced/openai/gpt-9": while it lasts it is one alert.
    key: str
    # What to tell.
    event: Event
    # The key never comes back: one alert for ever.
    once: bool = False
    # From then on it resolves by itself. None: not by time.
    expire_time: dt.datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known of an alert whose condition is noticed again."""

    state: AlertState
    severity: Severity
    notify_time: dt.datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Mute:
    """Events that no channel shall hear of. Empty: any."""

    type: str = ""
    org: str = ""
    subject: str = ""

    def covers(self, event: Event) -> bool:
        """Says whether it silences an event."""
        return (
            is_covered(event.type, self.type)
            and self.org in ("", event.org)
            and self.subject in ("", event.subject)
        )


def decide_again(
    standing: Standing,
    severity: Severity,
    *,
    now: dt.datetime,
    repeat_after: dt.timedelta = REPEAT_AFTER,
) -> AlertAction | None:
    """Says how a condition that is noticed again is told: escalated, repeated, or not (None).

    What somebody has taken on is told again only when it gets worse.
    """
    if standing.state is AlertState.RESOLVED:
        return None
    if severity > standing.severity:
        return AlertAction.ESCALATED
    if standing.state is AlertState.OPEN and now - standing.notify_time >= repeat_after:
        return AlertAction.REPEATED
    return None


def is_muted(event: Event, mutes: Collection[Mute]) -> bool:
    """Says whether any mute silences an event."""
    return any(mute.covers(event) for mute in mutes)
