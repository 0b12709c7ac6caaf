"""When a delivery is attempted: backoff after failures, and the quiet hours of its channel."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from services.accounting.domain.event_types import Severity

# After the last of these a delivery is dead. Between the first and the last lies more than a day:
# a receiver that is broken for a day loses nothing.
ATTEMPT_COUNT_MAX: Final = 12
BACKOFF_FIRST: Final = dt.timedelta(seconds=5)
BACKOFF_MAX: Final = dt.timedelta(hours=6)
BACKOFF_FACTOR: Final = 4
# A wait is longer by up to this share: receivers that come back are not met by all at once.
JITTER: Final = 0.25
MINUTES_PER_DAY: Final = 24 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietHours:
    """Hours of each day in which what is not critical waits. May span midnight."""

    start_minute: int
    # Not the start.
    end_minute: int
    # IANA name of a time zone that exists.
    time_zone: str

    def end_after(self, now: dt.datetime) -> dt.datetime | None:
        """Returns when the hours that are running end; None outside of them."""
        local = now.astimezone(ZoneInfo(self.time_zone))
        minute = local.hour * 60 + local.minute
        spans_midnight = self.start_minute > self.end_minute
        if spans_midnight:
            is_quiet = minute >= self.start_minute or minute < self.end_minute
        else:
            is_quiet = self.start_minute <= minute < self.end_minute
        if not is_quiet:
            return None
        is_tomorrow = spans_midnight and minute >= self.start_minute
        day = local.date() + dt.timedelta(days=int(is_tomorrow))
        end_time = dt.time(self.end_minute // 60, self.end_minute % 60)
        end = dt.datetime.combine(day, end_time, local.tzinfo).astimezone(dt.UTC)
        # Where the clock skips the end or repeats it: never before now, so that nobody spins.
        return max(end, now + dt.timedelta(seconds=1))


def wait_after(
    attempt_count: int, *, fraction: float, asked: dt.timedelta | None = None
) -> dt.timedelta | None:
    """Returns the wait after so many failed attempts; None: it was the last one.

    `fraction` is random, from 0 to 1; `asked` is what the receiver asked for, which may only
    lengthen the wait.
    """
    if attempt_count >= ATTEMPT_COUNT_MAX:
        return None
    # The cap is reached long before the power is large.
    wait = min(BACKOFF_FIRST * int(BACKOFF_FACTOR ** (attempt_count - 1)), BACKOFF_MAX)
    wait *= 1 + JITTER * fraction
    return max(wait, min(asked, BACKOFF_MAX)) if asked is not None else wait


def hold_back(
    quiet: QuietHours | None, severity: Severity, *, now: dt.datetime
) -> dt.datetime | None:
    """Returns until when quiet hours hold an event back; None: they do not."""
    if quiet is None or severity is Severity.CRITICAL:
        return None
    return quiet.end_after(now)
