"""How a call ends: what its counters are charged with then, and later."""

from __future__ import annotations

import datetime as dt

from services.admission.domain.calls import UNCHARGED, CallKey, Reservation, State
from services.admission.domain.counters import Counter


def close(ended: Reservation, counter: Counter) -> None:
    """Replaces the hold on a counter by what the call, just ended, is charged with."""
    metric = counter.metric
    counter.end_call(
        held=ended.held(metric),
        charged=ended.charged(metric),
        overrun=ended.overrun(metric),
        admit_time=ended.admit_time,
    )


def revise(ended: Reservation, counter: Counter, before: tuple[int, int]) -> None:
    """Replaces what a counter was charged with, and its overrun, by what they are now."""
    charged, overrun = before
    metric = counter.metric
    counter.revise(
        charged=ended.charged(metric) - charged,
        overrun=ended.overrun(metric) - overrun,
        admit_time=ended.admit_time,
    )


def after_report(ended: Reservation) -> State:
    """Returns the state of an ended call once it is reported."""
    if ended.state in UNCHARGED or ended.state is State.EXPIRED:
        return State.LATE
    return ended.state


def tombstone(key: CallKey, state: State, now: dt.datetime) -> Reservation:
    """Returns what is kept of an id that ends unknown: a delayed Reserve finds it ended."""
    return Reservation(
        key=key,
        fingerprint=b"",
        operation="",
        provider="",
        model="",
        held_nanos=0,
        set_id=None,
        admit_time=now,
        expire_time=now,
        price_version=0,
        breaker_epoch=0,
        state=state,
        hold_returned=True,
    )
