"""Counters: what one scope has used in one window, and when it has room again.

Every counter answers the same questions, so the ledger knows no kinds of windows. A counter that a
batch holds is locked, so what it says is true until the batch has committed.
"""

from __future__ import annotations

import datetime as dt
import uuid
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from services.admission.domain.bindings import CounterKey
from services.admission.domain.calls import RetryKind, Wait
from services.admission.domain.limits import Limit, Metric
from services.admission.domain.windows import (
    FOREVER,
    BucketWindow,
    OpenWindow,
    RollingWindow,
    Window,
    instant_of,
    micros,
)

NEVER: Final = Wait(RetryKind.NEVER, None)
UNKNOWN: Final = Wait(RetryKind.UNKNOWN, None)


@dataclass(slots=True)
class Counter:
    """A counter of a calendar period, an interval or a total."""

    counter_id: uuid.UUID
    # Minus the number of its dimensions.
    rank: int
    metric: Metric
    window: Window
    # First instant at which it no longer counts; FOREVER for a total.
    end: dt.datetime
    held: int = 0
    settled: int = 0
    # Part of settled above what had been held.
    overrun: int = 0
    # Greatest cap under which something was admitted.
    high_cap: int = 0
    # Limit under which something was admitted last. Empty: none.
    limit_id: str = ""
    # Greatest percent of the cap that has raised an alert.
    alerted_percent: int = 0
    # True if something was held here by an adaptive estimate.
    statistical: bool = False

    # Whether what is settled can raise alerts.
    has_alerts: ClassVar[bool] = True

    def belongs_to(self, limit: Limit) -> bool:
        """Tells whether a limit, which may have been changed meanwhile, still uses the counter."""
        return (
            limit.metric is self.metric
            and limit.window == self.window
            and len(limit.scope) == -self.rank
        )

    def roll(self, now: dt.datetime) -> None:
        """Forgets what has left the window. Called once, before a batch decides."""

    def hold(self, amount: int, now: dt.datetime, expire_time: dt.datetime) -> None:
        """Counts what a call may use at most."""
        self.held += amount

    def end_call(self, *, held: int, charged: int, overrun: int, admit_time: dt.datetime) -> None:
        """Replaces a hold by what the call is charged with."""
        self.held -= held
        self.settled += charged
        self.overrun += overrun

    def revise(self, *, charged: int, overrun: int, admit_time: dt.datetime) -> None:
        """Changes by so much what a call that ended before is charged with."""
        self.settled += charged
        self.overrun += overrun

    def extend(self, expire_time: dt.datetime) -> bool:
        """Hears that a hold lives longer; True if that changes the counter."""
        return False

    def wait(self, amount: int, cap: int, now: dt.datetime) -> Wait:
        """Returns when `amount` fits under `cap`, asked for when it does not."""
        if amount > cap:
            return NEVER
        if self.end == FOREVER:
            # Only holds that end below their amount can make room.
            return NEVER if self.settled + amount > cap else UNKNOWN
        return Wait(RetryKind.AT_LATEST if self.held else RetryKind.AT, self.end - now)


@dataclass(slots=True)
class OpenCounter(Counter):
    """A counter of calls that are open at the same time."""

    # When the last of them expires: then there is room at the latest.
    expire_time_max: dt.datetime = field(default=dt.datetime.min.replace(tzinfo=dt.UTC))

    has_alerts: ClassVar[bool] = False

    def hold(self, amount: int, now: dt.datetime, expire_time: dt.datetime) -> None:
        """Counts a call, and until when it may be open."""
        self.held += amount
        self.extend(expire_time)

    def extend(self, expire_time: dt.datetime) -> bool:
        """Hears that a call may be open for longer; True if it is now the last."""
        is_later = expire_time > self.expire_time_max
        self.expire_time_max = max(self.expire_time_max, expire_time)
        return is_later

    def wait(self, amount: int, cap: int, now: dt.datetime) -> Wait:
        """Returns when the last open call ends at the latest."""
        if amount > cap:
            return NEVER
        return Wait(RetryKind.AT_LATEST, max(self.expire_time_max - now, dt.timedelta()))


@dataclass(slots=True)
class Slot:
    """What was admitted within one slot of a rolling window."""

    held: int = 0
    settled: int = 0


@dataclass(slots=True)
class RollingCounter(Counter):
    """A counter of the time that has just passed. `held` and `settled` are those of live slots."""

    window: RollingWindow
    # By absolute index.
    slots: dict[int, Slot] = field(default_factory=dict)

    has_alerts: ClassVar[bool] = False

    def roll(self, now: dt.datetime) -> None:
        """Forgets slots that have left."""
        first = self.window.first_live_slot(now)
        for index in [index for index in self.slots if index < first]:
            left = self.slots.pop(index)
            self.held -= left.held
            self.settled -= left.settled

    def hold(self, amount: int, now: dt.datetime, expire_time: dt.datetime) -> None:
        """Counts a hold in the slot of its admission."""
        self.held += amount
        self.slots.setdefault(self.window.slot_at(now), Slot()).held += amount

    def end_call(self, *, held: int, charged: int, overrun: int, admit_time: dt.datetime) -> None:
        """Charges the slot of the call's admission, if it still counts."""
        slot = self.slots.get(self.window.slot_at(admit_time))
        if slot is None:
            # The call has left the window; what it used counts no more.
            return
        slot.held -= held
        slot.settled += charged
        self.held -= held
        self.settled += charged
        self.overrun += overrun

    def revise(self, *, charged: int, overrun: int, admit_time: dt.datetime) -> None:
        """Changes the slot of the call's admission, if it still counts."""
        self.end_call(held=0, charged=charged, overrun=overrun, admit_time=admit_time)

    def wait(self, amount: int, cap: int, now: dt.datetime) -> Wait:
        """Returns when enough slots have left."""
        if amount > cap:
            return NEVER
        # Slots leave one by one, the oldest first; once all have left there is room.
        used, indices, leaving = self.held + self.settled, iter(sorted(self.slots)), 0
        while used + amount > cap:
            leaving = next(indices)
            used -= self.slots[leaving].held + self.slots[leaving].settled
        kind = RetryKind.AT_LATEST if self.held else RetryKind.AT
        return Wait(kind, self.window.leave_time(leaving) - now)


@dataclass(slots=True)
class BucketCounter(Counter):
    """A counter that empties steadily. What was admitted is never given back: a refund would
    break burst + rate * time.

    `arrival` is the theoretical arrival time times the refill's amount, so that it is exact;
    `settled` is what has not been refilled, rounded up.
    """

    window: BucketWindow
    arrival: int = 0

    has_alerts: ClassVar[bool] = False

    def roll(self, now: dt.datetime) -> None:
        """Refills the bucket."""
        refilled = micros(now) * self.window.refill_amount
        self.arrival = max(self.arrival, refilled)
        self.settled = -(-(self.arrival - refilled) // self.window.refill_us)

    def hold(self, amount: int, now: dt.datetime, expire_time: dt.datetime) -> None:
        """Takes from the bucket."""
        self.arrival += amount * self.window.refill_us
        self.settled += amount

    def end_call(self, *, held: int, charged: int, overrun: int, admit_time: dt.datetime) -> None:
        """Takes what the hold did not cover."""
        self.revise(charged=0, overrun=overrun, admit_time=admit_time)

    def revise(self, *, charged: int, overrun: int, admit_time: dt.datetime) -> None:
        """Takes what was not covered before."""
        added = max(0, overrun)
        self.arrival += added * self.window.refill_us
        self.settled += added
        self.overrun += added

    def wait(self, amount: int, cap: int, now: dt.datetime) -> Wait:
        """Returns when the bucket has refilled enough."""
        if amount > cap:
            return NEVER
        room = self.arrival + (amount - cap) * self.window.refill_us
        return Wait(RetryKind.AT, instant_of(-(-room // self.window.refill_amount)) - now)


def fresh(key: CounterKey) -> Counter:
    """Returns a counter that has counted nothing yet."""
    return make(
        counter_id=key.counter_id,
        rank=key.rank,
        metric=key.metric,
        window=key.window,
        end=key.span.end,
    )


def make(*, window: Window, **state: Any) -> Counter:
    """Returns the counter of a window, in the state that was kept of it."""
    match window:
        case RollingWindow():
            return RollingCounter(window=window, **state)
        case BucketWindow():
            return BucketCounter(window=window, **state)
        case OpenWindow():
            return OpenCounter(window=window, **state)
        case _:
            return Counter(window=window, **state)
