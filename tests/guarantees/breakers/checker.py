"""Derives guarantee 12 again from what callers logged and what the triggers wrote down. Pure.

It shares no code with health: it knows states, epochs, leases and calls.
"""

from __future__ import annotations

import bisect
import datetime as dt
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tests.guarantees.breakers.evidence import Evidence, Key, Lease, Turn

CLOSED, OPEN, HALF_OPEN = "closed", "open", "half-open"
PATHS: Final = {(CLOSED, OPEN), (OPEN, HALF_OPEN), (HALF_OPEN, CLOSED), (HALF_OPEN, OPEN)}
NEVER: Final = dt.datetime.min.replace(tzinfo=dt.UTC)
FOREVER: Final = dt.datetime.max.replace(tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One admitted call, as its caller knows it."""

    org: str
    call_id: str
    provider: str
    model: str
    # Newest epoch of the provider, by the permit.
    epoch: int
    admit_time: dt.datetime
    # What the caller reported, and when it began to. None: nothing.
    succeeded: bool | None = None
    report_time: dt.datetime | None = None

    @property
    def keys(self) -> tuple[Key, ...]:
        """The breakers on its way."""
        return (
            Key(self.provider),
            Key(self.provider, self.model),
            Key(self.provider, "", self.org),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a run was set up with."""

    probe_count_max: int
    probe_successes: int
    failure_threshold: int
    # Longest that a breaker may be half-open while nothing is wrong and calls arrive.
    half_open_max: dt.timedelta
    # When something was wrong.
    outages: Sequence[tuple[dt.datetime, dt.datetime]] = ()
    # When callers had stopped: nothing moves any more.
    end: dt.datetime
    # How far clocks of this machine may seem apart.
    slack: dt.timedelta = dt.timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Stay:
    """One breaker in one state."""

    key: Key
    state: str
    epoch: int
    start: dt.datetime
    # None: still.
    end: dt.datetime | None
    next_state: str


def check(calls: Sequence[Call], evidence: Evidence, rules: Rules) -> list[str]:
    """Every broken promise; none, if all is well."""
    stays = _stays(evidence.turns)
    return [
        *_check_bound(evidence.leases, rules),
        *_check_epochs(evidence.turns),
        *_check_counts(calls, evidence.turns, rules),
        *_check_reasons(calls, evidence, stays, rules),
        *_check_admissions(calls, evidence.leases, stays),
        *_check_ends(stays, rules),
    ]


def _check_bound(leases: Sequence[Lease], rules: Rules) -> Iterator[str]:
    """At most so many probes at once, over all replicas."""
    by_key: dict[Key, list[Lease]] = defaultdict(list)
    for lease in leases:
        running = [each for each in by_key[lease.key] if each.end > lease.start]
        running.append(lease)
        by_key[lease.key] = running
        if len(running) > rules.probe_count_max:
            yield f"{len(running)} probes at once at {lease.start}: {running}"


def _check_epochs(turns: Sequence[Turn]) -> Iterator[str]:
    last: dict[Key, Turn] = {}
    used: dict[str, set[int]] = defaultdict(set)
    for turn in turns:
        before = last.get(turn.key) or Turn(
            key=turn.key, state=CLOSED, epoch=0, last_epoch=0, failure_count=0, at=NEVER
        )
        if turn.epoch < before.epoch or turn.last_epoch < before.last_epoch:
            yield f"an epoch went back: {before}, then {turn}"
        if (turn.state == before.state) != (turn.epoch == before.epoch):
            yield f"state and epoch do not change together: {before}, then {turn}"
        if turn.state != before.state:
            if (before.state, turn.state) not in PATHS:
                yield f"a breaker went a way that there is not: {before}, then {turn}"
            if turn.epoch in used[turn.key.provider]:
                yield f"an epoch was used twice: {turn}"
            used[turn.key.provider].add(turn.epoch)
        last[turn.key] = turn


def _check_counts(calls: Sequence[Call], turns: Sequence[Turn], rules: Rules) -> Iterator[str]:
    """A closed breaker counts failures of its own epoch only, and each once."""
    failed = _failures(calls)
    for turn in turns:
        if turn.state == CLOSED and turn.failure_count:
            heard = _count_heard(failed[turn.key], turn.epoch, turn.at + rules.slack)
            if turn.failure_count > heard:
                yield f"counted more failures than the {heard} of its epoch: {turn}"


def _failures(calls: Sequence[Call]) -> Mapping[Key, list[Call]]:
    """Failed calls by the breakers on their ways, in the order of their reports."""
    failed: dict[Key, list[Call]] = defaultdict(list)
    for call in sorted(calls, key=_report_time):
        if call.succeeded is False:
            for key in call.keys:
                failed[key].append(call)
    return failed


def _count_heard(failed: Sequence[Call], epoch: int, latest: dt.datetime) -> int:
    until = bisect.bisect_right(failed, latest, key=_report_time)
    return sum(call.epoch >= epoch for call in failed[:until])


def _check_reasons(
    calls: Sequence[Call], evidence: Evidence, stays: Sequence[_Stay], rules: Rules
) -> Iterator[str]:
    """Each change of state has the outcomes that it needs, none of them of an older epoch."""
    by_id = {(call.org, call.call_id): call for call in calls}
    failed = _failures(calls)
    probed: dict[tuple[Key, int], list[Call]] = defaultdict(list)
    for lease in evidence.leases:
        if (probe := by_id.get((lease.org, lease.call_id))) is not None:
            probed[lease.key, lease.epoch].append(probe)
    for stay in stays:
        if stay.end is None:
            continue
        latest = stay.end + rules.slack
        if stay.state == CLOSED:
            heard = _count_heard(failed[stay.key], stay.epoch, latest)
            if heard < rules.failure_threshold:
                yield f"opened by {heard} failures of its epoch: {stay}"
        elif stay.state == HALF_OPEN:
            probes = probed[stay.key, stay.epoch]
            told = [call.succeeded for call in probes if _report_time(call) <= latest]
            if stay.next_state == CLOSED and told.count(True) < rules.probe_successes:
                yield f"closed by {told}: {stay}"
            if stay.next_state == OPEN and False not in told:
                yield f"opened again though no probe failed: {stay}"


def _report_time(call: Call) -> dt.datetime:
    return call.report_time or FOREVER


def _check_admissions(
    calls: Sequence[Call], leases: Sequence[Lease], stays: Sequence[_Stay]
) -> Iterator[str]:
    """A call that knew of an epoch obeyed it: it is no call past an open breaker, nor a probe
    without a lease.
    """
    leased = {(lease.key, lease.org, lease.call_id) for lease in leases}
    by_key: dict[Key, list[_Stay]] = defaultdict(list)
    for stay in stays:
        by_key[stay.key].append(stay)
    for call in calls:
        for key in call.keys:
            # Epochs of one breaker only grow.
            known = bisect.bisect_right(by_key[key], call.epoch, key=lambda each: each.epoch)
            state = by_key[key][known - 1].state if known else CLOSED
            if state == OPEN:
                yield f"admitted past an open breaker that it knew of: {key} {call}"
            if state == HALF_OPEN and (key, call.org, call.call_id) not in leased:
                yield f"a probe without a lease: {key} {call}"


def _check_ends(stays: Sequence[_Stay], rules: Rules) -> Iterator[str]:
    for stay in stays:
        if stay.end is None and stay.state != CLOSED:
            yield f"never closed again: {stay}"
        if stay.state == HALF_OPEN:
            end = stay.end or rules.end
            if end > _latest_end(stay.start, rules):
                yield f"stuck half-open for {end - stay.start}: {stay}"


def _latest_end(start: dt.datetime, rules: Rules) -> dt.datetime:
    latest = start + rules.half_open_max
    for began, over in rules.outages:
        if began <= latest and over >= start:
            latest = max(latest, over + rules.half_open_max)
    return latest


def _stays(turns: Sequence[Turn]) -> list[_Stay]:
    """The states of each breaker, one after the other; closed from the beginning."""
    changes: Mapping[Key, list[Turn]] = defaultdict(list)
    for turn in turns:
        known = changes[turn.key]
        if (known[-1].state if known else CLOSED) != turn.state:
            known.append(turn)
    stays = []
    for key, own in changes.items():
        first = Turn(key=key, state=CLOSED, epoch=0, last_epoch=0, failure_count=0, at=NEVER)
        for turn, following in zip([first, *own], [*own, None], strict=True):
            stays.append(
                _Stay(
                    key=key,
                    state=turn.state,
                    epoch=turn.epoch,
                    start=turn.at,
                    end=following.at if following else None,
                    next_state=following.state if following else "",
                )
            )
    return stays
