"""The state that watchers see, and what of it changed since a version.

An update is computed from the state, not from a queue of events: a watcher that fell behind gets
the newest state of whatever changed, once.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.health.domain.breakers import Breaker
from services.health.domain.kills import KillState, KillSwitch


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthState:
    """Everything that health knows, at one version."""

    version: int
    breakers: tuple[Breaker, ...]
    # All switches, resumed ones too.
    kills: tuple[KillSwitch, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """The whole state, or what changed since an older version. Nothing changed: a heartbeat."""

    version: int
    is_snapshot: bool
    breakers: tuple[Breaker, ...] = ()
    kills: tuple[KillSwitch, ...] = ()


def snapshot(state: HealthState) -> Update:
    """Returns the whole state. Switches that were resumed are not part of it."""
    return Update(
        version=state.version,
        is_snapshot=True,
        breakers=state.breakers,
        kills=tuple(kill for kill in state.kills if kill.state is not KillState.RESUMED),
    )


def changes_since(state: HealthState, version: int) -> Update:
    """Returns what a watcher that knows `version` lacks."""
    return Update(
        version=state.version,
        is_snapshot=False,
        breakers=tuple(breaker for breaker in state.breakers if breaker.version > version),
        kills=tuple(kill for kill in state.kills if kill.version > version),
    )
