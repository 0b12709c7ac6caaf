"""Calendar windows against a walk over the zone's own calendar."""

from __future__ import annotations

import datetime as dt
import re
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.admission.domain.calendars import Period, zone_named
from services.admission.domain.windows import CalendarWindow, span_at

ZONES = (
    "UTC",
    "Europe/Amsterdam",
    "America/New_York",
    "Australia/Lord_Howe",  # half an hour of daylight saving
    "America/Sao_Paulo",  # used to skip midnight
    "Asia/Kathmandu",
    "Pacific/Apia",  # skipped a whole day
)
INSTANTS = st.datetimes(
    min_value=dt.datetime(2005, 1, 1),  # noqa: DTZ001 - the strategy adds the zone
    max_value=dt.datetime(2037, 12, 31),  # noqa: DTZ001 - as above
    timezones=st.just(dt.UTC),
)


@given(
    instant=INSTANTS,
    other=INSTANTS,
    zone=st.sampled_from(ZONES),
    period=st.sampled_from(list(Period)),
)
def test_periods_partition_time(
    instant: dt.datetime, other: dt.datetime, zone: str, period: Period
) -> None:
    window = CalendarWindow(period=period, time_zone=zone)
    span = span_at(window, instant)
    assert span.start <= instant < span.end
    # Every instant inside has the same period; the first one after it has the next.
    assert span_at(window, span.start) == span
    assert span_at(window, span.end - dt.timedelta(microseconds=1)) == span
    assert span_at(window, span.end).start == span.end
    same = span_at(window, other)
    assert (same == span) == (span.start <= other < span.end)


@given(instant=INSTANTS, zone=st.sampled_from(ZONES))
def test_a_period_is_one_local_day_or_month(instant: dt.datetime, zone: str) -> None:
    local = instant.astimezone(ZoneInfo(zone)).date()
    day = span_at(CalendarWindow(period=Period.DAY, time_zone=zone), instant)
    month = span_at(CalendarWindow(period=Period.MONTH, time_zone=zone), instant)
    assert day.start.astimezone(ZoneInfo(zone)).date() == local
    assert month.start.astimezone(ZoneInfo(zone)).date() == local.replace(day=1)
    assert month.start <= day.start
    assert day.end <= month.end


@pytest.mark.parametrize(
    ("day", "hours"),
    [(dt.date(2026, 3, 29), 23), (dt.date(2026, 10, 25), 25), (dt.date(2026, 7, 1), 24)],
)
def test_days_of_clock_changes_have_their_length(day: dt.date, hours: int) -> None:
    noon = dt.datetime.combine(day, dt.time(12), tzinfo=ZoneInfo("Europe/Amsterdam"))
    window = CalendarWindow(period=Period.DAY, time_zone="Europe/Amsterdam")
    span = span_at(window, noon.astimezone(dt.UTC))
    assert span.end - span.start == dt.timedelta(hours=hours)


@pytest.mark.parametrize("name", ["Nowhere/Land", "../etc/passwd", "a\0b"])
def test_unknown_zones_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=re.escape(name)):
        zone_named(name)
