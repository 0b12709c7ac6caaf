"""The kill switch: what is wanted, what admission has acknowledged, and who wins.

Each kill and each resume has a sequence, and the highest wins, in health's row as in admission's
fence. So a kill and a resume at the same time end in the same state everywhere: that of whichever
took the row last.
"""

from __future__ import annotations

import datetime as dt
import enum
import hashlib
from dataclasses import dataclass, replace
from typing import Final

# Id of the switch that stops all calls; also of admission's fence.
PLATFORM: Final = "platform"
# What a stop may be about. Each is a dimension of admission's fences.
DIMENSIONS: Final = ("org", "operation", "provider", "model", "feature", "api_key")
# What callers are told when nobody wrote anything better.
DEFAULT_MESSAGE: Final = "AI calls are stopped for the whole platform."
# Who lifts a stop whose time is over.
EXPIRY: Final = "expiry"
_ID_DIGITS: Final = 24

# Values by dimension, in order of the dimensions; empty: the platform.
Scope = tuple[tuple[str, str], ...]


class KillState(enum.Enum):
    """Where a kill switch stands; the values are those of the schema."""

    INTENDED = "intended"
    IN_FORCE = "in-force"
    RESUMING = "resuming"
    RESUMED = "resumed"


@dataclass(frozen=True, slots=True, kw_only=True)
class KillSwitch:
    """A stop of the calls in a scope, as its row says."""

    kill_id: str
    state: KillState
    # Why it was set, for staff; and what callers are told.
    reason: str
    message: str
    # Who set or resumed it last.
    actor: str
    sequence: int
    change_time: dt.datetime
    # Version of health's state in which watchers learnt of it.
    version: int
    scope: Scope = ()
    # When it lifts itself. None: never.
    expire_time: dt.datetime | None = None
    # Who set it, and when.
    set_by: str = ""
    set_time: dt.datetime | None = None

    @property
    def is_wanted(self) -> bool:
        """True if calls shall be stopped: what admission's fence must say."""
        return self.state in {KillState.INTENDED, KillState.IN_FORCE}

    @property
    def is_pending(self) -> bool:
        """True until admission has acknowledged what is wanted."""
        return self.state in {KillState.INTENDED, KillState.RESUMING}


@dataclass(frozen=True, slots=True, kw_only=True)
class KillOrder:
    """Somebody's order to stop calls."""

    reason: str
    message: str
    actor: str
    # The gateway's audit entry.
    audit_id: str
    scope: Scope = ()
    # After how long it lifts itself. None: never.
    duration: dt.timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeOrder:
    """Somebody's order to lift the stop."""

    reason: str
    actor: str
    # The gateway's audit entry.
    audit_id: str
    kill_id: str = PLATFORM


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeNote:
    """Who ordered a change and why, for the change log."""

    audit_id: str
    actor: str
    reason: str


def note_of(order: KillOrder | ResumeOrder) -> ChangeNote:
    """Returns what the change log keeps of an order."""
    return ChangeNote(audit_id=order.audit_id, actor=order.actor, reason=order.reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """Admission's fence, as admission says that it now is."""

    sequence: int
    active: bool


class FenceLagsError(Exception):
    """Admission answered with an older sequence than it was given."""


def id_of(scope: Scope) -> str:
    """Returns the id of the one switch of a scope."""
    if not scope:
        return PLATFORM
    named = "\0".join(word for entry in scope for word in entry)
    kind = scope[0][0].replace("_", "-")
    return f"{kind}-{hashlib.sha256(named.encode()).hexdigest()[:_ID_DIGITS]}"


def default_message(scope: Scope) -> str:
    """Returns what callers are told when nobody wrote anything better."""
    if not scope:
        return DEFAULT_MESSAGE
    named = ", ".join(f"{dimension.replace('_', ' ')} {value}" for dimension, value in scope)
    return f"AI calls are stopped for {named}."


def killed(switch: KillSwitch | None, order: KillOrder, *, now: dt.datetime) -> KillSwitch:
    """Returns the switch with a stop intended; unchanged if the same stop is wanted already.

    A stop that lifts itself is set anew each time: it lasts from the last order on.
    """
    message = order.message or default_message(order.scope)
    told = (order.reason, message, None, None)
    if switch is not None and switch.is_wanted:
        known = (switch.reason, switch.message, switch.expire_time, order.duration)
        if known == told:
            return switch
    return KillSwitch(
        kill_id=id_of(order.scope),
        scope=order.scope,
        expire_time=None if order.duration is None else now + order.duration,
        set_by=order.actor,
        set_time=now,
        state=KillState.INTENDED,
        reason=order.reason,
        message=message,
        actor=order.actor,
        sequence=switch.sequence + 1 if switch is not None else 1,
        change_time=now,
        version=switch.version if switch is not None else 0,
    )


def resumed(switch: KillSwitch, order: ResumeOrder, *, now: dt.datetime) -> KillSwitch:
    """Returns the switch with its lifting intended; unchanged if it is being lifted or is lifted.

    The reason of the stop stays; the reason of the lifting goes to the change log.
    """
    if not switch.is_wanted:
        return switch
    return replace(
        switch,
        state=KillState.RESUMING,
        actor=order.actor,
        sequence=switch.sequence + 1,
        change_time=now,
    )


def expired(switch: KillSwitch, *, now: dt.datetime) -> KillSwitch:
    """Returns the switch with its lifting intended, if its time is over; else unchanged.

    Admission has lifted its fence by its own clock; this makes all others know.
    """
    if not switch.is_wanted or switch.expire_time is None or now < switch.expire_time:
        return switch
    return replace(
        switch,
        state=KillState.RESUMING,
        actor=EXPIRY,
        sequence=switch.sequence + 1,
        change_time=now,
    )


def acknowledged(
    switch: KillSwitch, *, sent: KillSwitch, fence: Fence, now: dt.datetime
) -> KillSwitch:
    """Returns the switch after admission answered to `sent`.

    Somebody else's newer order leaves it unchanged. A fence that is ahead of the switch, which
    happens when health's database was restored from a backup, makes the switch take the next
    sequence and wait again: an order must never be taken for acknowledged when it was not.
    """
    if switch.sequence != sent.sequence:
        return switch
    if fence.sequence < switch.sequence:
        raise FenceLagsError(f"fence at {fence.sequence}, switch at {switch.sequence}")
    # A fence that has lifted itself meanwhile is no contradiction.
    is_over = switch.expire_time is not None and now >= switch.expire_time
    agrees = fence.active == switch.is_wanted or (is_over and not fence.active)
    if fence.sequence != switch.sequence or not agrees:
        state = KillState.INTENDED if switch.is_wanted else KillState.RESUMING
        return replace(switch, state=state, sequence=fence.sequence + 1, change_time=now)
    state = KillState.IN_FORCE if switch.is_wanted else KillState.RESUMED
    return switch if switch.state is state else replace(switch, state=state, change_time=now)
