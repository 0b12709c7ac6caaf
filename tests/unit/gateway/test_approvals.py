"""Which calls need a person, for which calls a leave holds, and who may give one."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import denials
from gateway.domain.approvals import (
    Approval,
    Flaw,
    Need,
    Obstacle,
    State,
    find_flaw,
    find_need,
    find_obstacle,
    is_attempt,
    is_covered,
    is_decided,
    subject_of,
)
from gateway.domain.calls import Call
from headgate.api.common.v1 import denial_pb2
from headgate.api.gateway.v1 import approval_pb2
from tests.unit.gateway.calls import (
    ANTHROPIC,
    CALL_ID,
    GOOGLE,
    OPENAI,
    OTHER_ID,
    ROUTE,
    make_call,
)

NOW: Final = dt.datetime(2026, 11, 26, tzinfo=dt.UTC)
CALL: Final = make_call()


def make_approval(**values: Any) -> Approval:
    defaults: dict[str, Any] = {
        "approval_id": "01890a5d-ac96-774b-bcce-b302099a8000",
        "position": 1,
        "org": "acme",
        "call_id": CALL_ID,
        "operation": "summarize",
        "requester": "k_acme",
        "subject": subject_of(CALL, CALL_ID),
        "summary": "Sum up the year.",
        "need": Need.OPERATION,
        "candidates": (OPENAI, ANTHROPIC),
        "cost_nanos_max": 900,
        "dimensions": {},
        "state": State.APPROVED,
        "is_over": False,
        "create_time": NOW,
        "expire_time": NOW,
        "decide_time": NOW,
        "decider": "ann",
        "reason": "",
    }
    return Approval(**defaults | values)


def attempt(**values: Any) -> Call:
    return make_call(**{"call_id": OTHER_ID, "parent_call_id": CALL_ID} | values)


@given(
    required=st.booleans(),
    is_automatic=st.booleans(),
    threshold=st.integers(0, 5),
    cost=st.integers(0, 6),
)
def test_a_call_needs_a_person_exactly_if_one_of_the_three_says_so(
    *, required: bool, is_automatic: bool, threshold: int, cost: int
) -> None:
    route = replace(ROUTE, approval_required=required, approval_threshold_nanos=threshold)
    need = find_need(route, is_automatic=is_automatic, cost_nanos_max=cost)

    is_dear = threshold > 0 and cost > threshold
    assert (need is None) == (not required and is_automatic and not is_dear)
    # The operation's own word comes first, the cost last.
    if need is not None:
        assert need is (Need.OPERATION if required else Need.COST if is_automatic else Need.TOGGLE)


@pytest.mark.parametrize(
    ("approval", "call", "expected"),
    [
        (make_approval(), CALL, None),
        (make_approval(), attempt(excluded_candidates=(OPENAI,)), None),
        (None, CALL, Flaw.UNKNOWN),
        (make_approval(org="globex"), CALL, Flaw.UNKNOWN),
        (make_approval(requester="k_other"), CALL, Flaw.OTHER_CALLER),
        (make_approval(state=State.PENDING), CALL, Flaw.PENDING),
        (make_approval(state=State.REJECTED), CALL, Flaw.REJECTED),
        (make_approval(state=State.EXPIRED, is_over=True), CALL, Flaw.EXPIRED),
        (make_approval(is_over=True), CALL, Flaw.EXPIRED),
        (make_approval(), make_call(call_id=OTHER_ID), Flaw.OTHER_CALL),
        (make_approval(), make_call(operation="chat"), Flaw.CHANGED),
        (make_approval(), make_call(labels={"ticket": "T-17"}), Flaw.CHANGED),
        (make_approval(), make_call(input_token_count=901), Flaw.CHANGED),
        (make_approval(), attempt(max_output_token_count=301), Flaw.CHANGED),
    ],
)
def test_a_leave_holds_for_the_call_that_people_looked_at_and_for_no_other(
    approval: Approval | None, call: Call, expected: Flaw | None
) -> None:
    assert find_flaw(approval, call) is expected


def test_a_leave_covers_what_people_looked_at_at_no_more_than_it_could_cost() -> None:
    approval = make_approval()

    assert is_covered(approval, OPENAI, 900)
    assert not is_covered(approval, OPENAI, 901)
    assert not is_covered(approval, GOOGLE, 1)
    assert is_attempt(approval, attempt())
    assert not is_attempt(approval, CALL)


@pytest.mark.parametrize(
    ("approval", "org", "actor", "approved", "expected"),
    [
        (make_approval(state=State.PENDING), "acme", "ann", True, None),
        (make_approval(state=State.PENDING), "", "ann", False, None),
        (make_approval(state=State.APPROVED), "", "bob", True, None),
        (make_approval(state=State.REJECTED), "", "bob", False, None),
        (None, "", "ann", True, Obstacle.UNKNOWN),
        (make_approval(state=State.PENDING), "globex", "ann", True, Obstacle.UNKNOWN),
        (make_approval(state=State.PENDING), "", "k_acme", True, Obstacle.OWN),
        (make_approval(state=State.REJECTED), "", "ann", True, Obstacle.CLOSED),
        (make_approval(state=State.APPROVED), "", "ann", False, Obstacle.CLOSED),
        (make_approval(state=State.EXPIRED), "", "ann", True, Obstacle.CLOSED),
    ],
)
def test_who_may_decide_and_when(
    approval: Approval | None,
    org: str,
    actor: str,
    *,
    approved: bool,
    expected: Obstacle | None,
) -> None:
    assert find_obstacle(approval, org=org, actor=actor, approved=approved) is expected


def test_what_was_decided_so_is_decided_so() -> None:
    assert is_decided(make_approval(state=State.APPROVED), approved=True)
    assert is_decided(make_approval(state=State.REJECTED), approved=False)
    assert not is_decided(make_approval(state=State.PENDING), approved=True)


def test_numbers_and_words_are_those_of_the_contract() -> None:
    assert {f"APPROVAL_STATE_{each.name}": each.value for each in State} == {
        name: number for name, number in approval_pb2.ApprovalState.items() if number
    }
    assert {f"APPROVAL_NEED_{each.name}": each.value for each in Need} == {
        name: number for name, number in approval_pb2.ApprovalNeed.items() if number
    }
    assert {f"APPROVAL_FLAW_{each.name}": each.value for each in Flaw} == {
        name: number for name, number in denial_pb2.ApprovalFlaw.items() if number
    }
    for need in Need:
        assert "RequestApproval" in denials.approval_required(CALL, need).message
    for flaw in Flaw:
        assert denials.approval_refused(CALL, flaw).approval_flaw == flaw.value
