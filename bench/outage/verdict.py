"""What of the promises was not kept. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from bench.outage.callers import TWO, Seen
from bench.outage.evidence import Evidence, Move
from bench.outage.script import AFTERMATH_SECONDS, Window
from local.demo.stage import FAILING_PROVIDER

SUCCEEDED: Final = 1
THROTTLED: Final = 5
# Where a breaker may go from where.
PATHS: Final = {
    ("closed", "open"),
    ("open", "half-open"),
    ("half-open", "closed"),
    ("half-open", "open"),
}
# Calls under way when the first ones hear a 429, and again each time that Retry-After is over.
THROTTLED_SHARE_MAX: Final = 0.4


def judge(
    windows: Sequence[Window],
    seen: Sequence[Seen],
    evidence: Evidence,
    *,
    incident_count: int = 0,
) -> list[str]:
    """Returns a sentence for each broken promise; none, if all is well.

    `incident_count`: how often Headgate itself did not answer in time.
    """
    return [
        *_check_callers(windows, seen),
        *list(_find_unneeded_fallbacks(seen, evidence.moves))[incident_count:],
        *_check_breakers(windows, evidence.moves),
        *(f"the breaker of {name} is not closed at the end" for name in evidence.unwell),
        *_check_throttling(windows, seen, evidence),
        *_check_books(seen, evidence),
    ]


def _check_callers(windows: Sequence[Window], seen: Sequence[Seen]) -> Iterator[str]:
    if not seen:
        yield "nobody called"
    for each in seen:
        if each.outcome == "error":
            yield f"a caller saw an error: {each}"
        if each.outcome == "cut" and not _meets(windows, each):
            yield f"a stream was cut though the provider cut none: {each}"


def _find_unneeded_fallbacks(seen: Sequence[Seen], moves: Sequence[Move]) -> Iterator[str]:
    """The other provider is troubled by nobody, but a busy machine may make it slow."""
    other = [move for move in moves if move.provider != FAILING_PROVIDER]
    for each in seen:
        if each.outcome != "fallback" or each.operation != TWO:
            continue
        states: dict[str, str] = {}
        for move in other:
            if move.at <= each.ended and move.part in ("", f"key of {each.org}"):
                states[move.part] = move.after
        if all(state == "closed" for state in states.values()):
            yield f"a caller got the fallback text though another model was well: {each}"


def _meets(windows: Sequence[Window], seen: Seen) -> bool:
    """Whether a call was under way while streams were cut."""
    return any(
        each.phase.cuts and each.start <= seen.ended and seen.began <= each.end for each in windows
    )


def _check_breakers(windows: Sequence[Window], moves: Sequence[Move]) -> Iterator[str]:
    own = [move for move in moves if move.provider == FAILING_PROVIDER and not move.part]
    for window in windows:
        if window.phase.opens and not _opened_in(own, window):
            yield f"the breaker did not open in {window}"
    last: dict[tuple[str, str], Move] = {}
    for move in moves:
        if move.actor:
            yield f"a person moved a breaker: {move}"
        if move.before == move.after:
            continue
        before = last.get((move.provider, move.part))
        if (move.before, move.after) not in PATHS:
            yield f"a breaker went a way that there is not: {move}"
        if before is not None and (before.after != move.before or before.epoch >= move.epoch):
            yield f"the history has a gap: {before}, then {move}"
        if move.after == "closed" and move.cause != "probes-succeeded":
            yield f"a breaker closed without a probe: {move}"
        last[move.provider, move.part] = move
    if len([move for move in own if move.after == "closed"]) < 1:
        yield "no probe closed the breaker"


def _opened_in(moves: Sequence[Move], window: Window) -> bool:
    before = [move.after for move in moves if move.at < window.start]
    return before[-1:] == ["open"] or any(
        move.after == "open"
        for move in moves
        if window.start <= move.at <= window.end + AFTERMATH_SECONDS
    )


def _check_throttling(
    windows: Sequence[Window], seen: Sequence[Seen], evidence: Evidence
) -> Iterator[str]:
    for window in windows:
        if "retry_after_seconds" not in window.phase.trouble:
            continue
        called = sum(window.covers(each.began) for each in seen)
        throttled = sum(
            each.outcome == THROTTLED and window.covers(each.admitted) for each in evidence.booked
        )
        if not throttled:
            yield "nobody was throttled"
        elif throttled > THROTTLED_SHARE_MAX * called:
            yield f"{throttled} of {called} calls went to a provider that wanted to be left alone"


def _check_books(seen: Sequence[Seen], evidence: Evidence) -> Iterator[str]:
    booked = {each.call_id: each for each in evidence.booked}
    if len(booked) != len(evidence.booked):
        yield "a call was booked twice"
    billed = {each.call_id: each for each in evidence.billed}
    for line in evidence.billed:
        row = booked.get(line.call_id)
        if row is None:
            yield f"billed and not booked: {line}"
        elif (row.provider, row.model, row.nanos) != (line.provider, line.model, line.nanos):
            yield f"billed as {line} and booked as {row}"
    for row in evidence.booked:
        if row.nanos and row.call_id not in billed:
            yield f"booked and not billed: {row}"
    for each in seen:
        answer = booked.get(each.call_id)
        if each.outcome != "answered":
            continue
        if answer is None or answer.outcome != SUCCEEDED:
            yield f"an answer is not booked: {each} {answer}"
        elif (answer.provider, answer.model) != (each.provider, each.model):
            yield f"booked on another model than answered: {each} {answer}"


def sums(evidence: Evidence) -> dict[str, dict[str, int]]:
    """Returns what each model cost, in nano-US-dollars, by the books and by the bill."""
    found: dict[str, Counter[str]] = {}
    for row in evidence.booked:
        found.setdefault(f"{row.provider}/{row.model}", Counter())["booked"] += row.nanos
    for line in evidence.billed:
        found.setdefault(f"{line.provider}/{line.model}", Counter())["billed"] += line.nanos
    return {name: dict(sum_) for name, sum_ in sorted(found.items())}
