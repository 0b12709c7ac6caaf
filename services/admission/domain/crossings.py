"""Thresholds of limits that what is settled reaches: each once for a limit and a period."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from services.admission.domain.counters import Counter
from services.admission.domain.limits import PERCENT, Limit


@dataclass(slots=True)
class Crossing:
    """One threshold that was reached."""

    limit_id: str
    counter_id: uuid.UUID
    percent: int
    cap: int
    settled: int
    # Whom a denied caller should ask.
    owner: str


def cross(counter: Counter, limit: Limit) -> list[Crossing]:
    """Returns the thresholds that are reached now and were not before, and marks them as reached.

    The counter remembers the greatest one only, and never forgets it in its period. So nothing is
    raised twice, and a lower threshold that a change of the cap passes over stays silent.
    """
    reached = [
        percent
        for percent in limit.alert_percents
        if percent > counter.alerted_percent
        and counter.settled * PERCENT >= percent * limit.cap
        and counter.settled
    ]
    if reached:
        counter.alerted_percent = max(reached)
    return [
        Crossing(
            limit.limit_id, counter.counter_id, percent, limit.cap, counter.settled, limit.owner
        )
        for percent in reached
    ]
