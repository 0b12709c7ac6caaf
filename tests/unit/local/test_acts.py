"""What the acts judge by: denials, kills and the states of breakers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from headgate import Candidate, Denial, DenialReason, Metric, RetryKind, Violation
from headgate.api.common.v1 import health_pb2
from local.demo import stage
from local.demo.acts import check_kills, describe, is_truthful, name_breaker
from local.demo.journal import Entry

DELAY = timedelta(hours=30, seconds=0.4)


def denial(
    *,
    limit_id: str = stage.CAP_ID,
    owner: str = stage.CAP_OWNER,
    delay: timedelta | None = DELAY,
    reset_in: timedelta | None = DELAY,
) -> Denial:
    violation = Violation(
        limit_id=limit_id,
        owner=owner,
        metric=Metric.COST,
        scope={"org": stage.CAPPED_ORG},
        cap=10,
        settled=9,
        held=0,
        requested=2,
        excess=1,
        reset_time=None if reset_in is None else datetime.now(UTC) + reset_in,
        candidate=Candidate("p", "m"),
    )
    return Denial(
        reason=DenialReason.BUDGET_EXCEEDED,
        violations=(violation,),
        retry_delay=delay,
        retry_kind=RetryKind.AT_LATEST,
        message="",
        fallback_text="",
    )


def test_a_denial_is_described_by_limit_owner_and_delay() -> None:
    assert describe(denial()) == (
        "budget exceeded by demo-cap, ask the demo's finance department, retry in 1 day, 6:00:01"
    )


def test_a_denial_without_owner_or_delay_is_described_too() -> None:
    assert describe(denial(owner="", delay=None)) == (
        "budget exceeded by demo-cap, ask nobody, waiting does not help"
    )


@pytest.mark.parametrize(
    ("fields", "truthful"),
    [
        ({}, True),
        ({"limit_id": "another"}, False),
        ({"owner": "somebody else"}, False),
        ({"delay": None}, False),
        ({"reset_in": None}, False),
        ({"delay": DELAY - timedelta(hours=1)}, False),
        ({"delay": DELAY + timedelta(hours=1)}, False),
    ],
)
def test_a_denial_is_truthful_if_it_names_cap_owner_and_end(
    fields: dict[str, Any], truthful: bool
) -> None:
    assert is_truthful(denial(**fields)) is truthful


@pytest.mark.parametrize(
    ("sent_seconds", "admitted", "found"),
    [
        (9.9, True, False),
        (10.0, True, True),
        (19.9, True, True),
        (20.0, True, False),
        (15.0, False, False),
    ],
)
def test_an_admission_after_an_acknowledged_kill_is_found(
    sent_seconds: float, admitted: bool, found: bool
) -> None:
    entry = Entry(call_id="a", sent_seconds=sent_seconds)
    if admitted:
        entry.admit_time = datetime.now(UTC)

    violations = check_kills([entry], [(10.0, 20.0)])

    assert bool(violations) is found


def test_every_state_of_a_breaker_has_a_name() -> None:
    names = {name_breaker(state) for state in health_pb2.BreakerState.values() if state}

    assert names == {"closed", "open", "half-open"}
    assert name_breaker(health_pb2.BREAKER_STATE_UNSPECIFIED) == "unknown"
