"""Counters derived again from calls: at rest, and at every admission. Pure."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from tests.guarantees.nemesis.books import (
    BUCKET,
    CALENDAR,
    METRIC_CALLS,
    METRIC_CONCURRENCY,
    METRIC_COST,
    ROLLING,
    Books,
    Counter,
    Ended,
    Open,
    State,
)


@dataclass(slots=True)
class Sums:
    """What a counter must say."""

    held: int = 0
    settled: int = 0
    overrun: int = 0


def check_sums(books: Books) -> Iterator[str]:
    """Counters against reservations, and reservations against the usage log."""
    expected: dict[uuid.UUID, Sums] = defaultdict(Sums)
    metrics = {counter.counter_id: counter.metric for counter in books.counters}
    for row in books.open:
        for counter_id in row.counter_ids:
            is_cost = metrics[counter_id] == METRIC_COST
            expected[counter_id].held += row.held_nanos if is_cost else 1
    for ended in books.ended:
        for counter_id in ended.counter_ids:
            if metrics[counter_id] != METRIC_CONCURRENCY:
                _add(expected[counter_id], ended, is_calls=metrics[counter_id] == METRIC_CALLS)
    for counter in books.counters:
        says = Sums(counter.held, counter.settled, counter.overrun)
        # The other kinds keep what is within them now; their calls are looked at one by one.
        keeps_all = counter.window_kind not in (ROLLING, BUCKET)
        if keeps_all and says != expected[counter.counter_id]:
            yield f"{counter} must say {expected[counter.counter_id]}"
    yield from _check_log(books)


def _add(sums: Sums, row: Ended, *, is_calls: bool) -> None:
    if row.state == State.RELEASED:
        return
    sums.settled += 1 if is_calls else row.settled_nanos
    if row.hold_returned:
        sums.overrun += 1 if is_calls else row.settled_nanos
    elif not is_calls:
        sums.overrun += max(0, row.settled_nanos - row.held_nanos)


def _check_log(books: Books) -> Iterator[str]:
    logged: dict[str, int] = defaultdict(int)
    for usage in books.usage:
        logged[usage.org] += usage.total_nanos
    unreported: dict[str, int] = defaultdict(int)
    for row in books.ended:
        if row.state == State.EXPIRED:
            unreported[row.org] += row.settled_nanos
    for org, counters in groupby(sorted(_days(books), key=_org), key=_org):
        settled = sum(counter.settled for counter in counters)
        if settled != logged[org] + unreported[org]:
            yield (
                f"{org} settled {settled}, but logged {logged[org]}"
                f" and left unreported {unreported[org]}"
            )


def _org(counter: Counter) -> str:
    return counter.org


def _days(books: Books) -> Iterator[Counter]:
    """Cost counters of orgs whose windows are days: together they count each call once."""
    for counter in books.counters:
        if counter.metric == METRIC_COST and counter.org and _is_day(counter):
            yield counter


def _is_day(counter: Counter) -> bool:
    if counter.window_kind != CALENDAR:
        return False
    return counter.end_time - counter.start_time <= dt.timedelta(hours=25)


def check_windows(books: Books) -> Iterator[str]:
    """A call is charged to the window in which it was admitted."""
    spans = {each.counter_id: (each.start_time, each.end_time) for each in books.counters}
    rows: list[Ended | Open] = [*books.ended, *books.open]
    for row in rows:
        for counter_id in row.counter_ids:
            start, end = spans[counter_id]
            if not start <= row.admit_time < end:
                yield f"charged to the window from {start} to {end}: {row}"


def check_caps(books: Books, limits: Mapping[tuple[str, int], str]) -> Iterator[str]:
    """Goes through every capped counter's calls by the database's time, cap by cap.

    What was settled after a call's hold had ended has no time in the books: of such a call no
    more is counted than what it must have stood for all the time.
    """
    for (org, metric), limit_id in limits.items():
        changes = sorted(
            (each.change_time, each.cap) for each in books.caps if each.limit_id == limit_id
        )
        for counter in books.counters:
            if (counter.org, counter.metric) != (org, metric) or not _is_day(counter):
                continue
            yield from _replay(counter, _moves(books, counter), changes)
            if counter.high_cap > max(cap for _, cap in changes):
                yield f"{counter} admitted under a cap that never was"


def _moves(books: Books, counter: Counter) -> list[tuple[dt.datetime, bool, int]]:
    """(instant, whether it is an admission, change of S + H), ends before starts."""
    is_calls = counter.metric == METRIC_CALLS
    moves = []
    for row in books.ended:
        if counter.counter_id not in row.counter_ids:
            continue
        held = 1 if is_calls else row.held_nanos
        moves.append((row.admit_time, True, held))
        moves.append((row.end_time, False, _stays(row, is_calls=is_calls) - held))
    return sorted(moves)


def _stays(row: Ended, *, is_calls: bool) -> int:
    if row.state == State.RELEASED or row.hold_returned:
        return 0
    if is_calls:
        return 1
    return min(row.held_nanos, row.settled_nanos) if row.state == State.LATE else row.settled_nanos


def _replay(
    counter: Counter,
    moves: Sequence[tuple[dt.datetime, bool, int]],
    changes: Sequence[tuple[dt.datetime, int]],
) -> Iterator[str]:
    total = 0
    for (time, starts), group in groupby(moves, key=lambda move: move[:2]):
        total += sum(amount for _, _, amount in group)
        cap = next((cap for changed, cap in reversed(changes) if changed <= time), None)
        if starts and cap is not None and total > cap:
            yield f"{counter.scope} {counter.metric}: {total} under a cap of {cap} at {time}"
