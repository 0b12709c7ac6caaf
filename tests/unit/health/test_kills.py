"""Orders to stop and to lift, admission's answers to them, and which of them wins."""

from __future__ import annotations

from dataclasses import replace

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
    )


def test_a_kill_without_a_message_tells_callers_a_fixed_sentence() -> None:
    assert kills.killed(None, replace(KILL, message=""), now=NOW).message == DEFAULT_MESSAGE


@pytest.mark.parametrize("switch", [INTENDED, IN_FORCE])
def test_the_same_kill_again_changes_nothing(switch: KillSwitch) -> None:
    again = replace(KILL, actor="somebody else", audit_id="a-9")

    assert kills.killed(switch, again, now=NOW + SECOND) is switch


@pytest.mark.parametrize("field", ["reason", "message"])
def test_a_kill_that_says_something_else_takes_the_next_sequence(field: str) -> None:
    other = kills.killed(IN_FORCE, replace(KILL, **{field: "other"}), now=NOW)

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
