"""Orders to stop and to lift, admission's answers to them, and which of them wins."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.health.domain import kills
from services.health.domain.kills import (
    DEFAULT_MESSAGE,
    ChangeNote,
    Fence,
    FenceLagsError,
    KillOrder,
    KillState,
    KillSwitch,
    ResumeOrder,
)
from tests.unit.health.values import NOW, SECOND

KILL = KillOrder(reason="runaway agent", message="Back soon.", actor="ada", audit_id="a-1")
RESUME = ResumeOrder(reason="fixed", actor="bob", audit_id="a-2")
INTENDED = kills.killed(None, KILL, now=NOW)
IN_FORCE = replace(INTENDED, state=KillState.IN_FORCE)
RESUMING = kills.resumed(IN_FORCE, RESUME, now=NOW + SECOND)
RESUMED = replace(RESUMING, state=KillState.RESUMED)


def test_the_first_kill_is_intended_with_sequence_one() -> None:
    assert kills.killed(None, KILL, now=NOW) == KillSwitch(
        kill_id="platform",
        state=KillState.INTENDED,
        reason="runaway agent",
        message="Back soon.",
        actor="ada",
        sequence=1,
        change_time=NOW,
        version=0,
        set_by="ada",
        set_time=NOW,
    )


def test_a_kill_without_a_message_tells_callers_a_fixed_sentence() -> None:
    assert kills.killed(None, replace(KILL, message=""), now=NOW).message == DEFAULT_MESSAGE


@pytest.mark.parametrize("switch", [INTENDED, IN_FORCE])
def test_the_same_kill_again_changes_nothing(switch: KillSwitch) -> None:
    again = replace(KILL, actor="somebody else", audit_id="a-9")

    assert kills.killed(switch, again, now=NOW + SECOND) is switch


@pytest.mark.parametrize("field", ["reason", "message"])
def test_a_kill_that_says_something_else_takes_the_next_sequence(field: str) -> None:
    changed: dict[str, Any] = {field: "other"}
    other = kills.killed(IN_FORCE, replace(KILL, **changed), now=NOW)

    assert (other.sequence, other.state) == (2, KillState.INTENDED)
    assert getattr(other, field) == "other"


@pytest.mark.parametrize("switch", [RESUMING, RESUMED])
def test_a_kill_after_a_resume_is_a_new_one(switch: KillSwitch) -> None:
    again = kills.killed(switch, KILL, now=NOW)

    assert (again.sequence, again.state) == (3, KillState.INTENDED)


@pytest.mark.parametrize("switch", [INTENDED, IN_FORCE])
def test_a_resume_is_intended_with_the_next_sequence_and_keeps_the_reason(
    switch: KillSwitch,
) -> None:
    resumed = kills.resumed(switch, RESUME, now=NOW + SECOND)

    assert resumed == replace(
        switch,
        state=KillState.RESUMING,
        actor="bob",
        sequence=2,
        change_time=NOW + SECOND,
    )


@pytest.mark.parametrize("switch", [RESUMING, RESUMED])
def test_the_same_resume_again_changes_nothing(switch: KillSwitch) -> None:
    assert kills.resumed(switch, RESUME, now=NOW) is switch


def test_what_is_wanted_and_pending_follows_from_the_state() -> None:
    switches = (INTENDED, IN_FORCE, RESUMING, RESUMED)

    assert [switch.is_wanted for switch in switches] == [True, True, False, False]
    assert [switch.is_pending for switch in switches] == [True, False, True, False]


@pytest.mark.parametrize(
    ("switch", "state"),
    [(INTENDED, KillState.IN_FORCE), (RESUMING, KillState.RESUMED)],
)
def test_an_acknowledged_order_is_in_force(switch: KillSwitch, state: KillState) -> None:
    fence = Fence(sequence=switch.sequence, active=switch.is_wanted)

    after = kills.acknowledged(switch, sent=switch, fence=fence, now=NOW + SECOND)

    assert after == replace(switch, state=state, change_time=NOW + SECOND)


@pytest.mark.parametrize("switch", [IN_FORCE, RESUMED])
def test_a_second_acknowledgement_changes_nothing(switch: KillSwitch) -> None:
    fence = Fence(sequence=switch.sequence, active=switch.is_wanted)

    assert kills.acknowledged(switch, sent=switch, fence=fence, now=NOW + SECOND) is switch


def test_an_acknowledgement_of_an_older_order_changes_nothing() -> None:
    fence = Fence(sequence=1, active=True)

    assert kills.acknowledged(RESUMING, sent=IN_FORCE, fence=fence, now=NOW) is RESUMING


@pytest.mark.parametrize(
    ("switch", "state"),
    [
        (INTENDED, KillState.INTENDED),
        (IN_FORCE, KillState.INTENDED),
        (RESUMING, KillState.RESUMING),
    ],
)
def test_a_fence_that_is_ahead_is_overtaken_not_believed(
    switch: KillSwitch, state: KillState
) -> None:
    fence = Fence(sequence=7, active=switch.is_wanted)

    after = kills.acknowledged(switch, sent=switch, fence=fence, now=NOW)

    assert (after.state, after.sequence) == (state, 8)


def test_a_fence_of_the_same_sequence_that_says_the_opposite_is_overtaken() -> None:
    fence = Fence(sequence=1, active=False)

    after = kills.acknowledged(INTENDED, sent=INTENDED, fence=fence, now=NOW)

    assert (after.state, after.sequence) == (KillState.INTENDED, 2)


def test_a_fence_that_lags_behind_what_it_was_given_is_an_error() -> None:
    with pytest.raises(FenceLagsError, match="fence at 1, switch at 2"):
        kills.acknowledged(RESUMING, sent=RESUMING, fence=Fence(sequence=1, active=True), now=NOW)


def test_the_change_log_keeps_who_and_why() -> None:
    assert kills.note_of(KILL) == ChangeNote(audit_id="a-1", actor="ada", reason="runaway agent")
    assert kills.note_of(RESUME) == ChangeNote(audit_id="a-2", actor="bob", reason="fixed")


STEPS = st.lists(st.sampled_from(["kill", "other kill", "resume", "send", "answer"]), max_size=40)


@settings(deadline=None, derandomize=True)
@given(steps=STEPS, fence_sequence=st.integers(0, 5), fence_active=st.booleans())
def test_whatever_is_ordered_in_force_is_said_only_of_a_fence_that_is_set(
    steps: list[str], fence_sequence: int, fence_active: bool
) -> None:
    """Orders, sends and late answers in any order, over a fence that may be ahead at first."""
    fence = Fence(sequence=fence_sequence, active=fence_active)
    switch = kills.killed(None, KILL, now=NOW)
    in_flight: list[tuple[KillSwitch, Fence]] = []
    for step in steps:
        if step == "kill":
            switch = kills.killed(switch, KILL, now=NOW)
        elif step == "other kill":
            switch = kills.killed(switch, replace(KILL, reason="other"), now=NOW)
        elif step == "resume":
            switch = kills.resumed(switch, RESUME, now=NOW)
        elif step == "send":
            if switch.sequence > fence.sequence:
                fence = Fence(sequence=switch.sequence, active=switch.is_wanted)
            in_flight.append((switch, fence))
        elif in_flight:
            sent, answered = in_flight.pop(0)
            switch = kills.acknowledged(switch, sent=sent, fence=answered, now=NOW)

        if switch.state is KillState.IN_FORCE:
            assert fence == Fence(sequence=switch.sequence, active=True)
        if switch.state is KillState.RESUMED:
            assert not fence.active


SCOPE: kills.Scope = (("org", "acme"), ("api_key", "k_1"))


def test_each_scope_has_one_switch_of_its_own() -> None:
    scopes: list[kills.Scope] = [(), SCOPE, SCOPE[:1], (("org", "acmeapi_keyk_1"),)]
    ids = [kills.id_of(scope) for scope in scopes]

    assert ids[0] == kills.PLATFORM
    assert len(set(ids)) == len(ids)
    assert kills.id_of(SCOPE) == ids[1]
    assert max(map(len, ids)) <= 64
    scoped = kills.killed(None, replace(KILL, scope=SCOPE, message=""), now=NOW)
    assert (scoped.kill_id, scoped.scope) == (ids[1], SCOPE)
    assert scoped.message == "AI calls are stopped for org acme, api key k_1."
    assert (scoped.set_by, scoped.set_time) == (KILL.actor, NOW)


def test_a_stop_with_a_duration_lasts_from_the_last_order_on() -> None:
    order = replace(KILL, duration=60 * SECOND)
    first = kills.killed(None, order, now=NOW)
    again = kills.killed(first, order, now=NOW + SECOND)
    for_good = kills.killed(first, KILL, now=NOW + SECOND)

    assert first.expire_time == NOW + 60 * SECOND
    assert (again.sequence, again.expire_time) == (2, NOW + 61 * SECOND)
    assert (for_good.sequence, for_good.expire_time) == (2, None)


def test_a_stop_is_lifted_when_its_time_is_over_and_not_before() -> None:
    order = replace(KILL, duration=60 * SECOND)
    switch = replace(kills.killed(None, order, now=NOW), state=KillState.IN_FORCE)
    over = kills.expired(switch, now=NOW + 60 * SECOND)

    assert kills.expired(switch, now=NOW + 59 * SECOND) is switch
    assert kills.expired(IN_FORCE, now=NOW + 10**6 * SECOND) is IN_FORCE
    assert kills.expired(over, now=NOW + 61 * SECOND) is over
    assert (over.state, over.sequence, over.actor) == (KillState.RESUMING, 2, kills.EXPIRY)


def test_a_fence_that_has_lifted_itself_contradicts_nothing() -> None:
    order = replace(KILL, duration=60 * SECOND)
    switch = kills.killed(None, order, now=NOW)
    lifted = kills.Fence(sequence=1, active=False)

    early = kills.acknowledged(switch, sent=switch, fence=lifted, now=NOW + SECOND)
    late = kills.acknowledged(switch, sent=switch, fence=lifted, now=NOW + 60 * SECOND)

    assert (early.state, early.sequence) == (KillState.INTENDED, 2)
    assert (late.state, late.sequence) == (KillState.IN_FORCE, 1)
