"""Guarantee 9 from the times of admission alone, whatever the counters say. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.guarantees.nemesis.books import Books, Ended, State

SECOND = dt.timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rolling:
    """At most `cap` calls in every trailing `seconds`."""

    org: str
    cap: int
    seconds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """At most `burst` and `rate` nanos a second in every time."""

    org: str
    burst: int
    rate: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Concurrency:
    """At most `cap` calls that are open and whose time has not passed."""

    org: str
    cap: int


Rate = Rolling | Bucket | Concurrency


def check_rates(books: Books, rates: Sequence[Rate]) -> Iterator[str]:
    """Goes through each org's calls in the order of their admissions."""
    for rate in rates:
        calls = sorted(
            (row for row in books.ended if row.org == rate.org and not row.is_tombstone),
            key=lambda row: row.admit_time,
        )
        match rate:
            case Rolling():
                yield from _check_rolling(rate, calls)
            case Bucket():
                yield from _check_bucket(rate, calls)
            case Concurrency():
                yield from _check_concurrency(rate, calls)


def _check_rolling(rate: Rolling, calls: Sequence[Ended]) -> Iterator[str]:
    # A released call gave its room back.
    times = [row.admit_time for row in calls if not row.hold_returned]
    for last, time in enumerate(times):
        if last >= rate.cap and time - times[last - rate.cap] < rate.seconds * SECOND:
            yield f"more than {rate.cap} calls in the {rate.seconds} s up to {time}: {rate}"


def _check_bucket(rate: Bucket, calls: Sequence[Ended]) -> Iterator[str]:
    """The level of a bucket that nothing but time empties must stay within the burst."""
    level, since = 0.0, dt.datetime.min.replace(tzinfo=dt.UTC)
    for row in calls:
        level = max(0.0, level - (row.admit_time - since) / SECOND * rate.rate) + row.held_nanos
        since = row.admit_time
        # Floats are exact to far less than a nano here.
        if level > rate.burst + 0.001:
            yield f"{level} nanos above what had flowed off at {since}: {rate}"


def _check_concurrency(rate: Concurrency, calls: Sequence[Ended]) -> Iterator[str]:
    for row in calls:
        open_count = sum(
            other.admit_time <= row.admit_time < min(other.end_time, _last_moment(other))
            for other in calls
        )
        if open_count > rate.cap:
            yield f"{open_count} calls are open at {row.admit_time}: {rate}"


def _last_moment(row: Ended) -> dt.datetime:
    # A late call's end is that of its hold.
    return row.end_time if row.state == State.RELEASED else row.expire_time
