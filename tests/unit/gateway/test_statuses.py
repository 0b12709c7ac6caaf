"""What people are told of providers, and which banner is due."""

from __future__ import annotations

import pytest

from chassis.errors import Unauthenticated
from gateway.domain.fitness import BreakerState
from gateway.domain.statuses import (
    ALL_DOWN,
    SOME_DOWN,
    SWITCHED_OFF,
    Banner,
    Level,
    Severity,
    banner_of,
    level_of,
)
from gateway.status_tokens import LIFETIME_SECONDS, Reader, StatusTokens

HEALTHY, DEGRADED, DOWN = Level.HEALTHY, Level.DEGRADED, Level.DOWN
CLOSED = BreakerState.CLOSED


@pytest.mark.parametrize(
    ("state", "calls", "percent", "level"),
    [
        (CLOSED, 0, 0, HEALTHY),
        (CLOSED, 100, 9, HEALTHY),
        (CLOSED, 100, 10, DEGRADED),
        (CLOSED, 4, 100, HEALTHY),
        (BreakerState.HALF_OPEN, 0, 0, DEGRADED),
        (BreakerState.OPEN, 0, 0, DOWN),
    ],
)
def test_a_provider_s_level(state: BreakerState, calls: int, percent: int, level: Level) -> None:
    assert level_of(state, call_count=calls, error_rate_percent=percent) is level


@pytest.mark.parametrize(
    ("levels", "stop", "off", "banner"),
    [
        ([], None, False, None),
        ([HEALTHY, DEGRADED], None, False, None),
        ([HEALTHY, DOWN], None, False, Banner(severity=Severity.WARNING, text=SOME_DOWN)),
        ([DOWN, DOWN], None, False, Banner(severity=Severity.CRITICAL, text=ALL_DOWN)),
        ([DOWN], None, True, Banner(severity=Severity.CRITICAL, text=SWITCHED_OFF)),
        ([DOWN], "Back soon.", True, Banner(severity=Severity.CRITICAL, text="Back soon.")),
    ],
)
def test_the_loudest_banner_is_due(
    levels: list[Level], stop: str | None, off: bool, banner: Banner | None
) -> None:
    assert banner_of(levels, stop_message=stop, is_switched_off=off) == banner


def test_a_token_reads_one_org_for_an_hour() -> None:
    now = 0.0
    tokens = StatusTokens({"old": b"o" * 32}, now=lambda: now)
    token = tokens.make("acme")
    rotated = StatusTokens({"new": b"n" * 32, "old": b"o" * 32}, now=lambda: now)
    assert rotated.read(token) == Reader("acme", LIFETIME_SECONDS)
    now += LIFETIME_SECONDS + 1

    with pytest.raises(Unauthenticated, match="too old"):
        tokens.read(token)


@pytest.mark.parametrize("token", ["", "x", "????", "\u00e9", "A" * 500, "A" * 64])
def test_what_is_no_token_reads_nothing(token: str) -> None:
    tokens = StatusTokens({"k": b"k" * 32})

    for shown in (token, tokens.make("acme")[:-4] + "AAAA", tokens.make("acme") + "AAAA"):
        with pytest.raises(Unauthenticated):
            tokens.read(shown)
