"""What is found becomes a condition with a key of its own, and words for people."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest

from services.accounting.domain.anomalies import OperationDay, find_anomalies
from services.accounting.domain.findings import (
    Crossing,
    Denials,
    UsageFault,
    UsageFinding,
    describe_crossing,
    describe_denials,
    describe_usage,
)
from services.accounting.domain.fitness import (
    NOTICE_AGAIN,
    Active,
    compare_facts,
    describe_end,
    kill_in_force,
    open_breaker,
    refused_credential,
)

NOW = dt.datetime(2026, 11, 26, 12, tzinfo=dt.UTC)
CROSSING = Crossing(
    counter_id="c1",
    limit_id="acme-monthly",
    scope={"org": "acme"},
    metric="cost",
    start_time=dt.datetime(2026, 11, 1, tzinfo=dt.UTC),
    end_time=dt.datetime(2026, 12, 1, tzinfo=dt.UTC),
    percent=80,
    cap=250_000_000_000,
    settled=200_100_000_000,
    owner="ann@example.com",
)


def test_a_crossing_is_one_alert_for_its_limit_threshold_and_period() -> None:
    found = describe_crossing(CROSSING)

    assert found.once
    assert found.expire_time == CROSSING.end_time
    assert (found.event.type, found.event.org) == ("cost.budget.warning", "acme")
    assert found.event.title == "80 % of acme-monthly is used: $200.10 of $250.00"
    assert found.event.data["start_time"] == "2026-11-01T00:00:00Z"
    others = [
        replace(CROSSING, percent=50),
        replace(CROSSING, counter_id="c2"),
    ]
    assert len({describe_crossing(each).key for each in (CROSSING, *others)}) == 3


@pytest.mark.parametrize("percent", [100, 120])
def test_a_whole_cap_is_exceeded_and_calls_are_no_money(percent: int) -> None:
    total = replace(
        CROSSING, percent=percent, metric="calls", scope={}, start_time=None, end_time=None
    )
    found = describe_crossing(replace(total, settled=10, cap=10))

    assert (found.event.type, found.event.org) == ("cost.budget.exceeded", "")
    assert found.event.title.endswith("is used: 10 of 10")
    assert (found.event.data["start_time"], found.expire_time) == (None, None)


@pytest.mark.parametrize("fault", UsageFault)
def test_a_fault_of_usage_is_told_by_org_and_model(fault: UsageFault) -> None:
    finding = UsageFinding(
        fault=fault,
        org="acme",
        operation="summarize",
        provider="openai",
        model="gpt-9",
        call_count=1_200,
        cost_nanos=84_000_000,
        overrun_nanos=3_000_000,
    )
    found = describe_usage(finding, now=NOW)

    assert found.event.org == "acme"
    assert "1,200 calls" in found.event.title
    assert found.event.data["cost_nanos"] == 84_000_000
    assert ("overrun_nanos" in found.event.data) == (fault is UsageFault.OVERRUN)
    assert found.expire_time is not None
    assert found.expire_time > NOW
    other = describe_usage(replace(finding, model="gpt-8"), now=NOW)
    assert other.key != found.key


def test_a_budget_that_denies_is_told() -> None:
    denials = Denials(
        limit_id="acme-monthly", org="acme", denial_count=31, requested_nanos=5, owner="ann"
    )
    found = describe_denials(denials, now=NOW)

    assert (found.event.type, found.event.org) == ("cost.budget.exhausted", "acme")
    assert found.event.data["denial_count"] == 31


def test_what_is_so_is_noticed_when_it_is_new_anew_or_lasts() -> None:
    broken = open_breaker("openai", 7)
    model = open_breaker("openai", 3, where="model/gpt-9")
    credential = open_breaker("openai", 3, where="credential/acme", org="acme")
    stopped = kill_in_force("platform", reason="runaway", actor="k_ann")

    def active(key: str, occurrence: str, age: dt.timedelta) -> Active:
        return Active(key=key, occurrence=occurrence, last_time=NOW - age)

    known = [
        active(broken.key, "7", dt.timedelta()),
        active(model.key, "2", dt.timedelta()),
        active(stopped.key, "", NOTICE_AGAIN),
        active("breaker/anthropic", "1", dt.timedelta()),
    ]
    news, over = compare_facts([stopped, credential, broken, model], known, now=NOW)

    assert news == [credential, model, stopped]
    assert over == ["breaker/anthropic"]
    assert credential.event.org == "acme"
    assert "credential/acme" in credential.event.title


def test_the_end_of_what_was_so_is_told_too() -> None:
    assert describe_end("kill/platform", org="").data == {"kill_id": "platform"}
    closed = describe_end("breaker/openai/credential/acme", org="acme")
    assert (closed.type, closed.org, closed.subject) == (
        "breaker.closed",
        "acme",
        "provider/openai/credential/acme",
    )
    assert closed.data == {"provider": "openai", "part": "credential/acme"}
    assert describe_end("breaker/openai", org="").data == {"provider": "openai", "part": ""}


def test_a_refused_credential_is_told_to_its_org_and_so_is_its_end() -> None:
    found = refused_credential("openai", "acme/second")
    over = describe_end(found.key, org="acme")

    assert (found.key, found.event.type) == ("credential/openai/acme/second", "credential.refused")
    assert found.event.org == "acme"
    assert over.type == "credential.accepted"
    assert over.subject == found.event.subject
    assert over.data == found.event.data


USUAL = OperationDay(
    org="acme",
    operation="summarize",
    day=dt.date(2026, 11, 26),
    cost_nanos=20_000_000_000,
    call_count=300,
    week_cost_nanos=70_000_000_000,
    week_call_count=700,
    usual_day_count=7,
)


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({}, ["spend", "calls"]),
        ({"cost_nanos": 19_999_999_999}, ["calls"]),
        ({"call_count": 299}, ["spend"]),
        ({"usual_day_count": 2}, []),
        (
            {"usual_day_count": 3, "week_cost_nanos": 30_000_000_000, "week_call_count": 1},
            ["spend", "calls"],
        ),
        # Small orgs are left alone.
        (
            {
                "cost_nanos": 4_999_999_999,
                "week_cost_nanos": 0,
                "call_count": 99,
                "week_call_count": 0,
            },
            [],
        ),
        # A week without any spend has no usual day to compare with but nothing.
        ({"week_cost_nanos": 0, "week_call_count": 7_000}, ["spend"]),
    ],
)
def test_twice_the_spend_or_three_times_the_calls_of_a_usual_day_are_told(
    changes: dict[str, Any], kinds: list[str]
) -> None:
    found = list(find_anomalies([replace(USUAL, **changes)]))

    assert [each.event.type for each in found] == [f"cost.anomaly.{kind}" for kind in kinds]
    assert all(each.once for each in found)


def test_an_anomaly_says_what_is_usual_and_is_told_once_a_day() -> None:
    spend, calls = find_anomalies([USUAL])
    tomorrow, _ = find_anomalies([replace(USUAL, day=dt.date(2026, 11, 27))])

    assert spend.event.title == ("acme has spent $20.00 on summarize today, usually $10.00 a day")
    assert calls.event.data["usual_call_count"] == 100
    assert tomorrow.key != spend.key
