"""Periods of the calendar in the zones and on the days where they are odd."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.admission.domain.calendars import Period
from services.admission.domain.windows import CalendarWindow, Span, span_at

ZONES = (
    "UTC", "Europe/Amsterdam", "America/New_York", "Asia/Tokyo", "Asia/Kolkata",
    "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia", "Africa/Cairo",
)  # fmt: skip
SECOND = dt.timedelta(seconds=1)
# From 2000 to 2039.
INSTANTS = st.integers(946_771_200, 2_208_988_800).map(
    lambda seconds: dt.datetime.fromtimestamp(seconds, dt.UTC)
)
ANCHORS = {Period.HOUR: 1, Period.DAY: 1, Period.WEEK: 7, Period.MONTH: 31}


def span(text: str, period: Period, *, zone: str = "UTC", anchor: int = 1) -> Span:
    window = CalendarWindow(period=period, time_zone=zone, anchor=anchor)
    return span_at(window, dt.datetime.fromisoformat(text))


def bounds(found: Span) -> tuple[str, str]:
    return found.start.strftime("%m-%dT%H:%M"), found.end.strftime("%m-%dT%H:%M")


@given(
    instant=INSTANTS,
    zone=st.sampled_from(ZONES),
    period=st.sampled_from(Period),
    data=st.data(),
)
def test_periods_partition_time(
    instant: dt.datetime, zone: str, period: Period, data: st.DataObject
) -> None:
    anchor = data.draw(st.integers(1, ANCHORS[period]))
    window = CalendarWindow(period=period, time_zone=zone, anchor=anchor)
    found = span_at(window, instant)
    assert found.start <= instant < found.end
    # Its first and its last instant lie in it, its end in the next one.
    assert span_at(window, found.start) == found
    assert span_at(window, found.end - SECOND) == found
    assert span_at(window, found.end).start == found.end


@pytest.mark.parametrize(
    ("text", "zone", "expected"),
    [
        ("2026-05-17T12:34:56+00:00", "UTC", ("05-17T12:00", "05-17T13:00")),
        # Half-hour zones have their full hours at half past.
        ("2026-05-17T12:34:56+00:00", "Asia/Kolkata", ("05-17T12:30", "05-17T13:30")),
        # Of two local hours of one name each is an hour of its own.
        ("2026-10-25T00:30:00+00:00", "Europe/Amsterdam", ("10-25T00:00", "10-25T01:00")),
        ("2026-10-25T01:30:00+00:00", "Europe/Amsterdam", ("10-25T01:00", "10-25T02:00")),
        # A change by half an hour makes one of an hour and a half.
        ("2026-04-04T14:50:00+00:00", "Australia/Lord_Howe", ("04-04T14:00", "04-04T15:30")),
        ("2026-04-04T15:10:00+00:00", "Australia/Lord_Howe", ("04-04T14:00", "04-04T15:30")),
    ],
)
def test_hours_are_those_of_the_local_clock(
    text: str, zone: str, expected: tuple[str, str]
) -> None:
    assert bounds(span(text, Period.HOUR, zone=zone)) == expected


@pytest.mark.parametrize(
    ("anchor", "expected"),
    [
        (1, ("05-11T00:00", "05-18T00:00")),
        (6, ("05-16T00:00", "05-23T00:00")),
        (7, ("05-17T00:00", "05-24T00:00")),
    ],
)
def test_weeks_start_on_their_day(anchor: int, expected: tuple[str, str]) -> None:
    # A Sunday.
    assert bounds(span("2026-05-17T12:00:00+00:00", Period.WEEK, anchor=anchor)) == expected


@pytest.mark.parametrize(
    ("text", "anchor", "expected"),
    [
        ("2028-02-29T12:00:00+00:00", 1, ("02-01T00:00", "03-01T00:00")),
        ("2028-02-29T12:00:00+00:00", 31, ("02-29T00:00", "03-31T00:00")),
        ("2026-03-01T12:00:00+00:00", 31, ("02-28T00:00", "03-31T00:00")),
        ("2026-12-31T12:00:00+00:00", 31, ("12-31T00:00", "01-31T00:00")),
        ("2027-01-05T12:00:00+00:00", 15, ("12-15T00:00", "01-15T00:00")),
    ],
)
def test_months_start_on_their_anchor_or_their_last_day(
    text: str, anchor: int, expected: tuple[str, str]
) -> None:
    assert bounds(span(text, Period.MONTH, anchor=anchor)) == expected


def test_a_month_in_tokyo_starts_nine_hours_early() -> None:
    found = span("2026-05-31T15:00:00+00:00", Period.MONTH, zone="Asia/Tokyo")
    assert bounds(found) == ("05-31T15:00", "06-30T15:00")


@pytest.mark.parametrize(
    ("text", "zone", "hours"),
    [
        ("2026-03-29T12:00:00+00:00", "Europe/Amsterdam", 23),
        ("2026-10-25T12:00:00+00:00", "Europe/Amsterdam", 25),
        ("2026-03-08T17:00:00+00:00", "America/New_York", 23),
        ("2026-11-01T17:00:00+00:00", "America/New_York", 25),
    ],
)
def test_days_of_clock_changes_have_their_length(text: str, zone: str, hours: int) -> None:
    found = span(text, Period.DAY, zone=zone)
    assert found.end - found.start == dt.timedelta(hours=hours)
