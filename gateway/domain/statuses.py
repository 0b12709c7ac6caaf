"""What people are told: how fit each provider is, and whether a banner is due."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from gateway.domain.fitness import BreakerState

# From these on a provider whose breaker is closed is called degraded.
DEGRADED_PERCENT: Final = 10
DEGRADED_CALL_COUNT: Final = 5
ALL_DOWN: Final = "AI providers are not answering at the moment. We will be back by ourselves."
SOME_DOWN: Final = "Some AI providers are not answering; others answer instead."
SWITCHED_OFF: Final = "AI features are switched off at the moment."


class Level(enum.Enum):
    """How fit a provider is."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    DOWN = "down"


class Severity(enum.Enum):
    """How loud a banner is."""

    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True, kw_only=True)
class Banner:
    """What a page shows to everybody."""

    severity: Severity
    text: str


def level_of(state: BreakerState, *, call_count: int, error_rate_percent: int) -> Level:
    """Returns how fit a provider is, by its breaker and its last minute."""
    if state is BreakerState.OPEN:
        return Level.DOWN
    fails = call_count >= DEGRADED_CALL_COUNT and error_rate_percent >= DEGRADED_PERCENT
    return Level.DEGRADED if fails or state is BreakerState.HALF_OPEN else Level.HEALTHY


def level_with(level: Level, credentials: Collection[BreakerState]) -> Level:
    """Returns how fit a provider is to those whose credentials these are: if it answers none of
    them it is down, whatever its own breaker says, which one org alone never opens.
    """
    if credentials and all(state is BreakerState.OPEN for state in credentials):
        return Level.DOWN
    is_troubled = any(state is not BreakerState.CLOSED for state in credentials)
    return Level.DEGRADED if is_troubled and level is Level.HEALTHY else level


def banner_of(
    levels: Iterable[Level], *, stop_message: str | None, is_switched_off: bool
) -> Banner | None:
    """Returns the banner that is due: a stop before a toggle before providers that are down."""
    if stop_message is not None:
        return Banner(severity=Severity.CRITICAL, text=stop_message)
    if is_switched_off:
        return Banner(severity=Severity.CRITICAL, text=SWITCHED_OFF)
    levels = list(levels)
    if Level.DOWN not in levels:
        return None
    if all(level is Level.DOWN for level in levels):
        return Banner(severity=Severity.CRITICAL, text=ALL_DOWN)
    return Banner(severity=Severity.WARNING, text=SOME_DOWN)
