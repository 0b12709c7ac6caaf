"""Where an ended call is kept: the day in its id, if that is near its admission."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable

# Ids that carry no usable time share one partition of ended reservations.
UNDATED = dt.date(1970, 1, 1)


def id_day_of(call_id: uuid.UUID) -> dt.date:
    """Returns the UTC day in a version 7 UUID's time stamp, UNDATED for other ids."""
    if call_id.version != 7:  # noqa: PLR2004 - RFC 9562's number of time-ordered ids
        return UNDATED
    milliseconds = call_id.int >> 80
    try:
        return dt.datetime.fromtimestamp(milliseconds / 1000, dt.UTC).date()
    except (OverflowError, ValueError, OSError):
        return UNDATED


def day_of_id(call_id: uuid.UUID, admit_time: dt.datetime) -> dt.date:
    """Returns the partition of an ended call: the day in its id if that is near its admission.

    A look-up probes two partitions, the id's day and UNDATED, instead of one for each day of the
    settlement horizon.
    """
    day = id_day_of(call_id)
    return day if abs((day - admit_time.date()).days) <= 1 else UNDATED


def day_bounds(days: Iterable[dt.date]) -> tuple[dt.date, dt.date]:
    """Returns the first and the last of the days, UNDATED aside: what is outside is not opened."""
    dated = set(days) - {UNDATED} or {UNDATED}
    return min(dated), max(dated)
