"""Which credentials are in use, and what their breakers say of a provider."""

from __future__ import annotations

import pytest

from gateway.domain import in_use
from gateway.domain.fitness import BreakerState
from gateway.domain.in_use import IN_USE_SECONDS, CredentialsInUse
from gateway.domain.statuses import Level, level_with

CLOSED, OPEN, HALF = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def test_a_credential_is_in_use_for_a_while_and_belongs_to_its_org() -> None:
    known = CredentialsInUse()
    known.note("openai", "acme", 0.0)
    known.note("openai", "acme/second", 60.0)
    known.note("openai", "globex", 60.0)
    known.note("mistral", "globex", 60.0)

    assert known.of("openai", 61.0) == ["acme", "acme/second", "globex"]
    assert known.of("openai", 61.0, org="acme") == ["acme", "acme/second"]
    assert known.of("openai", IN_USE_SECONDS, org="acme") == ["acme/second"]
    assert known.of("anthropic", 61.0) == []


def test_only_so_many_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_use, "COUNT_MAX", 2)
    known = CredentialsInUse()
    for at, org in enumerate(("old", "acme", "late")):
        known.note("openai", org, float(at))
    known.note("openai", "acme", IN_USE_SECONDS)
    known.note("openai", "new", IN_USE_SECONDS)

    assert known.of("openai", 3.0) == ["acme", "new"]


@pytest.mark.parametrize(
    ("level", "credentials", "expected"),
    [
        (Level.HEALTHY, [], Level.HEALTHY),
        (Level.HEALTHY, [CLOSED, CLOSED], Level.HEALTHY),
        (Level.HEALTHY, [OPEN], Level.DOWN),
        (Level.DEGRADED, [OPEN, OPEN], Level.DOWN),
        (Level.HEALTHY, [OPEN, CLOSED], Level.DEGRADED),
        (Level.HEALTHY, [OPEN, HALF], Level.DEGRADED),
        (Level.DOWN, [OPEN, CLOSED], Level.DOWN),
        (Level.DOWN, [], Level.DOWN),
    ],
)
def test_a_provider_is_down_to_those_whom_it_answers_with_no_credential(
    level: Level, credentials: list[BreakerState], expected: Level
) -> None:
    assert level_with(level, credentials) is expected
