"""What watchers are told of the state."""

from __future__ import annotations

from dataclasses import replace

from services.health.domain import states
from services.health.domain.breakers import Breaker, BreakerState, Forced, Key
from services.health.domain.kills import KillOrder, KillState, killed
from services.health.domain.states import HealthState, ProviderFigures, Update
from services.health.domain.windows import Figures
from tests.unit.health.values import NOW, SECOND

ORDER = KillOrder(reason="r", message="m", actor="a", audit_id="1")
KILL = replace(killed(None, ORDER, now=NOW), version=3)
RESUMED = replace(KILL, state=KillState.RESUMED, version=5)
OPENAI = replace(Breaker(key=Key(provider="openai")), version=4)
MISTRAL = replace(Breaker(key=Key(provider="mistral")), version=1)


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


def test_a_snapshot_holds_the_parts_that_are_unfit_and_changes_hold_all() -> None:
    part = Breaker(key=Key(provider="openai", credential="acme"), version=6)
    unfit = [
        replace(part, state=BreakerState.OPEN),
        replace(part, state=BreakerState.HALF_OPEN),
        replace(part, forced=Forced.CLOSED),
        replace(part, cool_until=NOW + SECOND),
    ]
    fit = [part, replace(part, cool_until=NOW)]
    state = HealthState(version=6, breakers=(OPENAI, *fit, *unfit), kills=(), now=NOW)

    assert states.snapshot(state).breakers == (OPENAI, *unfit)
    assert states.changes_since(state, 5).breakers == (*fit, *unfit)
    assert states.snapshot(replace(state, breakers=(fit[1],), now=None)).breakers == (fit[1],)


def test_new_figures_of_a_provider_are_news() -> None:
    figures = Figures(call_count=7, error_rate_percent=50)
    state = HealthState(
        version=6,
        breakers=(MISTRAL, OPENAI),
        kills=(),
        figures={"openai": ProviderFigures(figures=figures, version=6)},
    )

    update = states.changes_since(state, 5)

    assert (update.breakers, update.figures) == ((OPENAI,), {"openai": figures})
    assert states.changes_since(state, 6).breakers == ()
