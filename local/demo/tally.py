"""What has happened so far in a run, as the tap saw it on the wire."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

# Rate and latencies are shown over so many seconds, and at most so many admissions.
RECENT_SECONDS: Final = 10.0
RECENT_COUNT_MAX: Final = 5_000
EVENT_COUNT_MAX: Final = 6


@dataclass(slots=True)
class OrgTally:
    """Counts of one org."""

    admitted: int = 0
    # Admitted as a replacement for an attempt that failed.
    failed_over: int = 0
    # By reason, such as "budget exceeded".
    denied: Counter[str] = field(default_factory=Counter)
    # By outcome, such as "succeeded".
    completed: Counter[str] = field(default_factory=Counter)
    released: int = 0
    booked_nanos: int = 0


@dataclass(slots=True)
class Tally:
    """Counts of a run, by org, and what was noticed on the way."""

    orgs: dict[str, OrgTally] = field(default_factory=dict)
    # (when it was answered, seconds it took), one for each call that asked.
    admissions: deque[tuple[float, float]] = field(
        default_factory=lambda: deque(maxlen=RECENT_COUNT_MAX)
    )
    # Sentences for people, newest last.
    events: deque[str] = field(default_factory=lambda: deque(maxlen=EVENT_COUNT_MAX))
    event_count: int = 0
    # Calls of which every candidate failed, so that the fallback text was shown.
    fallback_count: int = 0
    start: float = field(default_factory=time.monotonic)

    def org(self, name: str) -> OrgTally:
        """Returns the counts of an org."""
        return self.orgs.setdefault(name, OrgTally())

    def note(self, sentence: str) -> None:
        """Adds an event, stamped with the seconds since the start."""
        self.events.append(f"{time.monotonic() - self.start:5.1f} s  {sentence}")
        self.event_count += 1

    def answered(self, seconds: float, *, count: int) -> None:
        """Counts calls that asked together and waited so long for the answer."""
        now = time.monotonic()
        self.admissions.extend((now, seconds) for _ in range(count))

    def rate(self) -> float:
        """Returns calls asked a second, lately."""
        now = time.monotonic()
        recent = sum(now - when < RECENT_SECONDS for when, _ in self.admissions)
        return recent / max(min(RECENT_SECONDS, now - self.start), 1.0)

    def latency_ms(self, quantile: float) -> float:
        """Returns a quantile of AdmitCall's latency in milliseconds, lately."""
        now = time.monotonic()
        recent = sorted(took for when, took in self.admissions if now - when < RECENT_SECONDS)
        return quantile_of(recent, quantile) * 1000


def quantile_of(ordered: Sequence[float], quantile: float) -> float:
    """Returns the nearest-rank quantile of ascending values; 0 if there are none."""
    if not ordered:
        return 0.0
    return ordered[min(int(quantile * len(ordered)), len(ordered) - 1)]
