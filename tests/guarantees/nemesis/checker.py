"""Derives every guarantee again from what clients logged and what the database says. Pure.

It shares no code with what it checks: it knows the operations, the rows and their timestamps.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias

from tests.guarantees.nemesis.books import Books, Ended, State, Usage
from tests.guarantees.nemesis.history import Action, Kind, Operation
from tests.guarantees.nemesis.rates import Rate, check_rates
from tests.guarantees.nemesis.sums import check_caps, check_sums, check_windows

CallKey: TypeAlias = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One broken promise."""

    guarantee: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a run was set up with."""

    hold: dt.timedelta
    # From the end of a hold's time to its end, when nothing is wrong.
    sweep: dt.timedelta
    # When something was wrong, in the order of their starts.
    outages: Sequence[tuple[dt.datetime, dt.datetime]]
    # (org, metric) -> the limit that caps this counter.
    limits: Mapping[tuple[str, int], str]
    rates: Sequence[Rate] = ()
    # How far clocks of this machine may seem apart.
    slack: dt.timedelta = dt.timedelta(seconds=1)


class Evidence:
    """The log and the books, by call."""

    def __init__(self, operations: Sequence[Operation], books: Books) -> None:
        self.operations = operations
        self.books = books
        self.by_call: dict[CallKey, list[Operation]] = defaultdict(list)
        for operation in operations:
            self.by_call[operation.org, operation.call_id].append(operation)
        self.ended: dict[CallKey, list[Ended]] = defaultdict(list)
        for row in books.ended:
            self.ended[row.org, row.call_id].append(row)
        self.usage: dict[CallKey, list[Usage]] = defaultdict(list)
        for usage in books.usage:
            self.usage[usage.org, usage.call_id].append(usage)
        self.open = Tally((row.org, row.call_id) for row in books.open)

    def answers(self, action: Action) -> Iterator[tuple[Operation, dict[str, Any]]]:
        """Operations that were answered, with the answer."""
        for operation in self.operations:
            if operation.action is action and operation.kind is Kind.OK:
                yield operation, operation.facts


def check(operations: Sequence[Operation], books: Books, rules: Rules) -> list[Finding]:
    """Every broken promise; none, if all is well."""
    evidence = Evidence(operations, books)
    checks: dict[int, Callable[[], Iterator[str]]] = {
        1: lambda: check_caps(books, rules.limits),
        2: lambda: _check_denials(evidence, rules),
        4: lambda: check_sums(books),
        5: lambda: _check_endings(evidence),
        6: lambda: _check_holds(evidence, rules),
        7: lambda: _check_effects(evidence),
        8: lambda: _check_durability(evidence),
        9: lambda: chain(check_windows(books), check_rates(books, rules.rates)),
        10: lambda: _check_retries(evidence, rules),
    }
    return [
        Finding(guarantee=number, text=text) for number, each in checks.items() for text in each()
    ]


def admissions(operation: Operation) -> dict[str, Any] | None:
    """The admission in an answer, if that is what it was."""
    admission: dict[str, Any] | None = operation.facts.get("decision", {}).get("admission")
    return admission


def _check_durability(evidence: Evidence) -> Iterator[str]:
    for operation, facts in evidence.answers(Action.ADMIT):
        admission = facts["decision"].get("admission")
        rows = evidence.ended[operation.org, operation.call_id]
        if admission is not None and not any(_is_of(row, admission) for row in rows):
            yield f"acknowledged admission is not in the books: {operation}"
    for operation, facts in evidence.answers(Action.COMPLETE):
        total = int(facts["receipt"]["total_nanos"])
        rows_of = evidence.usage[operation.org, operation.call_id]
        if total not in {row.total_nanos for row in rows_of}:
            yield f"acknowledged report is not in the log: {operation}"
    for operation, _ in evidence.answers(Action.RELEASE):
        if not evidence.ended[operation.org, operation.call_id]:
            yield f"acknowledged release is not in the books: {operation}"


def _is_of(row: Ended, admission: Mapping[str, Any]) -> bool:
    # An extension may have moved its end since then.
    return (row.held_nanos, row.admit_time) == (
        int(admission["held_nanos"]),
        parse_time(admission["admit_time"]),
    ) and row.expire_time >= parse_time(admission["expire_time"])


def _check_effects(evidence: Evidence) -> Iterator[str]:
    for key, operations in evidence.by_call.items():
        admitted = [
            (operation, admission)
            for operation in operations
            if operation.action is Action.ADMIT
            and operation.kind is Kind.OK
            and (admission := admissions(operation)) is not None
        ]
        if len({(each["held_nanos"], each["admit_time"]) for _, each in admitted}) > 1:
            yield f"one id was admitted in two ways: {key}"
        if sum(not each["replayed"] for _, each in admitted) > 1:
            yield f"one id was admitted for the first time twice: {key}"
        if len({str(operation.request) for operation, _ in admitted}) > 1:
            yield f"one id was admitted with other fields too: {key}"
        if len(evidence.usage[key]) > 1:
            yield f"one report was booked twice: {key}"
        for operation in operations:
            if operation.kind is Kind.FAIL and not _is_fair(operation, operations):
                yield f"refused without a reason: {operation}"


def _is_fair(refused: Operation, operations: Sequence[Operation]) -> bool:
    """Only an id that came with other fields may be refused."""
    if refused.action is not Action.ADMIT or refused.facts["code"] != "ALREADY_EXISTS":
        return False
    asked = [each.request for each in operations if each.action is Action.ADMIT]
    return any(request != refused.request for request in asked)


def _check_endings(evidence: Evidence) -> Iterator[str]:
    for key, rows in evidence.ended.items():
        if len(rows) + evidence.open[key] > 1:
            yield f"ended more than once: {key}"
        for row in rows:
            yield from _check_state(evidence, key, row)
    for key, usages in evidence.usage.items():
        if not evidence.ended[key]:
            yield f"a report reached the log and not admission: {key} {usages}"


def _check_state(evidence: Evidence, key: CallKey, row: Ended) -> Iterator[str]:
    usages = evidence.usage[key]
    released = [each for each in evidence.by_call[key] if each.action is Action.RELEASE]
    if usages:
        if row.state not in (State.SETTLED, State.LATE):
            yield f"a booked report was dropped: {row}"
        elif (row.settled_nanos, row.revision) != (usages[-1].total_nanos, usages[-1].revision):
            yield f"settled at something else than what was booked: {row} {usages}"
    elif row.state in (State.SETTLED, State.LATE):
        yield f"settled without a report: {row}"
    if row.state == State.RELEASED and not released and key in evidence.by_call:
        yield f"released though nobody asked for it: {row}"
    if row.state == State.EXPIRED and row.settled_nanos != row.held_nanos:
        yield f"expired at something else than its hold: {row}"
    for operation in released:
        if operation.kind is Kind.OK and not _may_follow(operation.facts["finished"], row):
            yield f"ended as {row.state} after a release was answered: {operation}"


def _may_follow(finished: Mapping[str, Any], row: Ended) -> bool:
    after = {
        "FINISHED_STATE_SETTLED": {State.SETTLED},
        "FINISHED_STATE_RELEASED": {State.RELEASED, State.LATE},
        "FINISHED_STATE_EXPIRED": {State.EXPIRED, State.LATE},
        "FINISHED_STATE_LATE": {State.LATE},
    }
    return row.state in after[finished["state"]]


def _check_holds(evidence: Evidence, rules: Rules) -> Iterator[str]:
    for held in evidence.books.open:
        yield f"still held at rest: {held}"
    for row in evidence.books.ended:
        if row.is_tombstone or (row.org, row.call_id) not in evidence.by_call:
            continue
        yield from _check_time(evidence.by_call[row.org, row.call_id], row, rules)
        expired = row.state == State.EXPIRED or (row.state == State.LATE and not row.hold_returned)
        if expired and row.end_time < row.expire_time:
            yield f"freed before its time: {row}"
        if row.end_time > _latest_end(row.expire_time, rules):
            yield f"outlived its time by {row.end_time - row.expire_time}: {row}"


def _check_time(operations: Sequence[Operation], row: Ended, rules: Rules) -> Iterator[str]:
    extensions = [each for each in operations if each.action is Action.EXTEND]
    if not extensions and row.expire_time - row.admit_time != rules.hold:
        yield f"held for another time than the operation's: {row}"
    for extension in extensions:
        promised = extension.facts.get("expire_time") if extension.kind is Kind.OK else None
        if promised is not None and row.expire_time < parse_time(promised):
            yield f"acknowledged extension is not in the books: {extension}"


def _latest_end(expire_time: dt.datetime, rules: Rules) -> dt.datetime:
    """One sweep after its time, or after all that was wrong since then."""
    latest = expire_time + rules.sweep
    for start, end in rules.outages:
        if start <= latest and end >= expire_time:
            latest = max(latest, end + rules.sweep)
    return latest


def _check_denials(evidence: Evidence, rules: Rules) -> Iterator[str]:
    for operation, facts in evidence.answers(Action.ADMIT):
        denial = facts["decision"].get("denial")
        if denial is None:
            continue
        if not denial["violations"]:
            yield f"denied without a reason: {operation}"
        for each in denial["violations"]:
            cap, settled, held, requested, excess = (
                int(each[name]) for name in ("cap", "settled", "held", "requested", "excess")
            )
            if excess != settled + held + requested - cap or excess <= 0:
                yield f"denied though it fits: {operation}"
            if cap not in _caps_during(evidence, rules, operation, each["limit_id"]):
                yield f"denied by a cap that was not in force: {operation}"


def _caps_during(
    evidence: Evidence, rules: Rules, operation: Operation, limit_id: str
) -> set[int]:
    """The caps of a limit between the question and the answer."""
    assert operation.end_ns is not None
    asked = instant(operation.invoke_ns) - rules.slack
    heard = instant(operation.end_ns) + rules.slack
    changes = sorted(
        (each.change_time, each.cap) for each in evidence.books.caps if each.limit_id == limit_id
    )
    before = [cap for time, cap in changes if time <= asked]
    return {*before[-1:], *(cap for time, cap in changes if asked < time <= heard)}


def _check_retries(evidence: Evidence, rules: Rules) -> Iterator[str]:
    for operation, facts in evidence.answers(Action.ADMIT):
        denial = facts["decision"].get("denial")
        if denial is None:
            continue
        assert operation.end_ns is not None
        hopeless = any(int(each["requested"]) > int(each["cap"]) for each in denial["violations"])
        if hopeless != (denial["retry_kind"] == "RETRY_KIND_NEVER"):
            yield f"waiting helps, or does not, against what was said: {operation}"
        if "retry_delay" not in denial or not all(
            "reset_time" in each for each in denial["violations"]
        ):
            continue
        delay = dt.timedelta(seconds=float(denial["retry_delay"].removesuffix("s")))
        reset = max(parse_time(each["reset_time"]) for each in denial["violations"])
        earliest = instant(operation.invoke_ns) + delay - rules.slack
        latest = instant(operation.end_ns) + delay + rules.slack
        if not earliest <= reset <= latest:
            yield f"the retry delay is not the time until {reset}: {operation}"


def parse_time(text: str) -> dt.datetime:
    """An instant as JSON shows it."""
    return dt.datetime.fromisoformat(text)


def instant(time_ns: int) -> dt.datetime:
    """An instant of the log."""
    return dt.datetime.fromtimestamp(time_ns / 1e9, dt.UTC)
