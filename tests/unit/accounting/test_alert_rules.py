"""When a condition that is noticed again is told again, and what a mute silences."""

from __future__ import annotations

import datetime as dt

import pytest

from services.accounting.domain.alerts import (
    REPEAT_AFTER,
    AlertAction,
    AlertState,
    Mute,
    Standing,
    decide_again,
    is_muted,
)
from services.accounting.domain.event_types import Severity
from services.accounting.domain.events import Event

NOW = dt.datetime(2026, 11, 26, 12, tzinfo=dt.UTC)
JUST = NOW - REPEAT_AFTER + dt.timedelta(seconds=1)
LONG_AGO = NOW - REPEAT_AFTER


@pytest.mark.parametrize(
    ("state", "known", "severity", "told", "expected"),
    [
        (AlertState.OPEN, Severity.WARNING, Severity.WARNING, JUST, None),
        (AlertState.OPEN, Severity.WARNING, Severity.WARNING, LONG_AGO, AlertAction.REPEATED),
        (AlertState.OPEN, Severity.WARNING, Severity.CRITICAL, JUST, AlertAction.ESCALATED),
        (AlertState.OPEN, Severity.CRITICAL, Severity.WARNING, JUST, None),
        (AlertState.ACKNOWLEDGED, Severity.WARNING, Severity.WARNING, LONG_AGO, None),
        (
            AlertState.ACKNOWLEDGED,
            Severity.WARNING,
            Severity.CRITICAL,
            JUST,
            AlertAction.ESCALATED,
        ),
        (AlertState.RESOLVED, Severity.WARNING, Severity.CRITICAL, LONG_AGO, None),
    ],
)
def test_a_condition_is_told_again_when_it_lasts_or_gets_worse(
    state: AlertState,
    known: Severity,
    severity: Severity,
    told: dt.datetime,
    expected: AlertAction | None,
) -> None:
    standing = Standing(state=state, severity=known, notify_time=told)

    assert decide_again(standing, severity, now=NOW) is expected


@pytest.mark.parametrize(
    ("mute", "muted"),
    [
        (Mute(), True),
        (Mute(type="kill"), True),
        (Mute(type="kill.lifted", org="acme", subject="kill/platform"), True),
        (Mute(type="cost"), False),
        (Mute(org="globex"), False),
        (Mute(subject="kill/acme"), False),
    ],
)
def test_a_mute_silences_what_all_its_fields_cover(mute: Mute, muted: bool) -> None:
    event = Event(
        type="kill.lifted",
        org="acme",
        subject="kill/platform",
        title="t",
        data={"kill_id": "platform"},
    )

    assert is_muted(event, [Mute(type="breaker"), mute]) is muted
