"""The state that watchers see, and what of it changed since a version.

An update is computed from the state, not from a queue of events: a watcher that fell behind gets
the newest state of whatever changed, once.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field

from services.health.domain.breakers import Breaker, BreakerState, Forced
from services.health.domain.kills import KillState, KillSwitch
from services.health.domain.toggles import Toggle
from services.health.domain.windows import Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderFigures:
    """What the last minute of a provider's calls says."""

    figures: Figures
    # Version of health's state in which watchers learnt of it.
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthState:
    """Everything that health knows, at one version."""

    version: int
    breakers: tuple[Breaker, ...]
    # All switches, resumed ones too.
    kills: tuple[KillSwitch, ...]
    figures: Mapping[str, ProviderFigures] = field(default_factory=dict)
    # All toggles, deleted ones too.
    toggles: tuple[Toggle, ...] = ()
    # The database's clock at the reading. None: there was none yet.
    now: dt.datetime | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """The whole state, or what changed since an older version. Nothing changed: a heartbeat."""

    version: int
    is_snapshot: bool
    breakers: tuple[Breaker, ...] = ()
    kills: tuple[KillSwitch, ...] = ()
    # Of the providers among the breakers.
    figures: Mapping[str, Figures] = field(default_factory=dict)
    toggles: tuple[Toggle, ...] = ()
    # The database's clock. None: unknown.
    now: dt.datetime | None = field(default=None, compare=False)


def snapshot(state: HealthState) -> Update:
    """Returns the whole state: all providers, what of their parts is unfit or refused, and
    stops in force.
    """
    return _update(
        state,
        is_snapshot=True,
        breakers=tuple(each for each in state.breakers if _is_told(each, state.now)),
        kills=tuple(kill for kill in state.kills if kill.state is not KillState.RESUMED),
        toggles=tuple(toggle for toggle in state.toggles if not toggle.deleted),
    )


def changes_since(state: HealthState, version: int) -> Update:
    """Returns what a watcher that knows `version` lacks."""
    news = {name for name, found in state.figures.items() if found.version > version}
    return _update(
        state,
        is_snapshot=False,
        breakers=tuple(
            each
            for each in state.breakers
            if each.version > version or (each.key.is_provider and each.key.provider in news)
        ),
        kills=tuple(kill for kill in state.kills if kill.version > version),
        toggles=tuple(toggle for toggle in state.toggles if toggle.version > version),
    )


def is_fit(breaker: Breaker, now: dt.datetime | None) -> bool:
    """Tells whether a breaker lets all calls pass, and nobody forced it."""
    cools = breaker.cool_until is not None and (now is None or breaker.cool_until > now)
    is_closed = breaker.state is BreakerState.CLOSED
    return is_closed and breaker.forced is Forced.NOT and not cools


def _is_told(breaker: Breaker, now: dt.datetime | None) -> bool:
    # A credential that is refused opens after some calls only; staff must know before.
    is_refused = breaker.refuse_time is not None
    return breaker.key.is_provider or is_refused or not is_fit(breaker, now)


def _update(
    state: HealthState,
    *,
    is_snapshot: bool,
    breakers: tuple[Breaker, ...],
    kills: tuple[KillSwitch, ...],
    toggles: tuple[Toggle, ...],
) -> Update:
    providers = {each.key.provider for each in breakers if each.key.is_provider}
    return Update(
        version=state.version,
        is_snapshot=is_snapshot,
        breakers=breakers,
        kills=kills,
        toggles=toggles,
        figures={
            name: found.figures for name, found in state.figures.items() if name in providers
        },
        now=state.now,
    )
