"""What watchers are told of the state."""

from __future__ import annotations

from dataclasses import replace

from services.health.domain import states
from services.health.domain.breakers import unknown_breaker
from services.health.domain.kills import KillOrder, KillState, killed
from services.health.domain.states import HealthState, Update
from tests.unit.health.values import NOW

ORDER = KillOrder(reason="r", message="m", actor="a", audit_id="1")
KILL = replace(killed(None, ORDER, now=NOW), version=3)
RESUMED = replace(KILL, state=KillState.RESUMED, version=5)
OPENAI = replace(unknown_breaker("openai"), version=4)
MISTRAL = replace(unknown_breaker("mistral"), version=1)


def test_a_snapshot_holds_all_but_what_was_lifted() -> None:
    killed_state = HealthState(version=5, breakers=(MISTRAL, OPENAI), kills=(KILL,))
    resumed_state = replace(killed_state, kills=(RESUMED,))

    assert states.snapshot(killed_state) == Update(
        version=5, is_snapshot=True, breakers=(MISTRAL, OPENAI), kills=(KILL,)
    )
    assert states.snapshot(resumed_state).kills == ()


def test_changes_are_those_after_the_known_version_a_lifting_too() -> None:
    state = HealthState(version=5, breakers=(MISTRAL, OPENAI), kills=(RESUMED,))

    assert states.changes_since(state, 3) == Update(
        version=5, is_snapshot=False, breakers=(OPENAI,), kills=(RESUMED,)
    )


def test_a_watcher_that_knows_all_gets_a_heartbeat() -> None:
    state = HealthState(version=5, breakers=(OPENAI,), kills=(KILL,))

    assert states.changes_since(state, 5) == Update(version=5, is_snapshot=False)
