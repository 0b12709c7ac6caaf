"""Calendar periods are what a walk over the local clock, minute by minute, finds."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.admission.domain.calendars import Period
from services.admission.domain.windows import CalendarWindow, span_at
from tests.unit.admission.plain_windows import period_of

ZONES = ("Europe/Amsterdam", "America/New_York", "Asia/Tokyo", "Australia/Lord_Howe")
# Clock changes, leap days, turns of years, ends of short months; and any other instant.
TURNS = [
    dt.datetime(2024, 2, 29, 12, tzinfo=dt.UTC),
    dt.datetime(2024, 12, 31, 23, 30, tzinfo=dt.UTC),
    dt.datetime(2025, 2, 28, 23, 59, 59, 999_999, tzinfo=dt.UTC),
    dt.datetime(2026, 3, 8, 6, 59, 59, tzinfo=dt.UTC),
    dt.datetime(2026, 3, 8, 7, 30, tzinfo=dt.UTC),
    dt.datetime(2026, 3, 29, 0, 59, 59, tzinfo=dt.UTC),
    dt.datetime(2026, 3, 29, 1, tzinfo=dt.UTC),
    dt.datetime(2026, 4, 4, 15, 15, tzinfo=dt.UTC),
    dt.datetime(2026, 10, 3, 15, 40, tzinfo=dt.UTC),
    dt.datetime(2026, 10, 25, 0, 30, tzinfo=dt.UTC),
    dt.datetime(2026, 10, 25, 1, 30, tzinfo=dt.UTC),
    dt.datetime(2026, 11, 1, 5, 59, tzinfo=dt.UTC),
    dt.datetime(2026, 11, 1, 6, 1, tzinfo=dt.UTC),
]
INSTANTS = st.one_of(
    st.sampled_from(TURNS),
    st.datetimes(
        min_value=dt.datetime(2020, 1, 1),  # noqa: DTZ001 - the strategy adds the zone
        max_value=dt.datetime(2036, 12, 31),  # noqa: DTZ001 - as above
        timezones=st.just(dt.UTC),
    ),
)
CALENDARS = st.one_of(
    st.builds(
        CalendarWindow,
        period=st.sampled_from([Period.HOUR, Period.DAY]),
        time_zone=st.sampled_from(ZONES),
    ),
    st.builds(
        CalendarWindow,
        period=st.just(Period.WEEK),
        time_zone=st.sampled_from(ZONES),
        anchor=st.integers(1, 7),
    ),
    st.builds(
        CalendarWindow,
        period=st.just(Period.MONTH),
        time_zone=st.sampled_from(ZONES),
        anchor=st.integers(1, 31),
    ),
)


@settings(max_examples=200)
@given(window=CALENDARS, instant=INSTANTS)
@example(
    window=CalendarWindow(period=Period.MONTH, time_zone="Asia/Tokyo", anchor=31),
    instant=dt.datetime(2024, 2, 28, 15, tzinfo=dt.UTC),
)
def test_a_calendar_period_is_what_a_walk_over_the_local_clock_finds(
    window: CalendarWindow, instant: dt.datetime
) -> None:
    span = span_at(window, instant)
    assert (span.start, span.end) == period_of(window, instant)


@pytest.mark.parametrize(
    ("anchor", "days"),
    [(31, [31, 29, 31, 30, 31]), (30, [30, 29, 30, 30, 30]), (29, [29, 29, 29, 29, 29])],
)
def test_a_month_that_lacks_its_first_day_starts_with_its_last(
    anchor: int, days: list[int]
) -> None:
    zone = ZoneInfo("Europe/Amsterdam")
    window = CalendarWindow(period=Period.MONTH, time_zone="Europe/Amsterdam", anchor=anchor)
    instant = dt.datetime(2024, 1, 31, 12, tzinfo=zone)
    starts = []
    for _ in days:
        span = span_at(window, instant)
        starts.append(span.start.astimezone(zone).day)
        instant = span.end
    assert starts == days
