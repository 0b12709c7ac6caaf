"""Budget increases: asked for, decided by others, in force at once, and over by themselves."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from headgate.api.common.v1 import denial_pb2, limit_pb2
from headgate.api.gateway.v1 import (
    admin_pb2,
    approval_pb2,
    gateway_pb2,
    limit_admin_pb2,
    limit_admin_pb2_grpc,
)
from tests.integration.gateway.leave import decide, make
from tests.integration.gateway.system import ADMIN_KEY, Keyed, System, refusal
from tests.integration.headgate.real import running_system

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPERATION = "summarize"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(postgres_url: str, pytestconfig: pytest.Config) -> AsyncIterator[System]:
    async with running_system(postgres_url, pytestconfig) as running:
        yield running


async def lead(system: System, org: str = "acme") -> Keyed:
    """An editor of one org."""
    request = admin_pb2.CreateApiKeyRequest(
        name="of a lead", role=admin_pb2.ROLE_EDITOR, orgs=[org]
    )
    key = (await system.staff().CreateApiKey(request)).secret
    return limits(system, key)


def limits(system: System, key: str = ADMIN_KEY) -> Keyed:
    return Keyed(limit_admin_pb2_grpc.LimitAdminServiceStub(system.channel()), key)


async def cap(system: System, limit_id: str, count: int, **scope: str) -> None:
    limit = limit_pb2.Limit(
        limit_id=limit_id, metric=limit_pb2.METRIC_CALLS, cap=count, scope=scope
    )
    limit.total.SetInParent()
    await system.staff().PutLimit(admin_pb2.PutLimitRequest(limit=limit))


def wish(limit_id: str, **values: Any) -> limit_admin_pb2.RequestBudgetIncreaseRequest:
    defaults: dict[str, Any] = {
        "increase_id": str(uuid.uuid4()),
        "org": "acme",
        "limit_id": limit_id,
        "amount": 1,
        "reason": "year end",
    }
    request = limit_admin_pb2.RequestBudgetIncreaseRequest(**defaults | values)
    if not request.HasField("end_time"):
        request.end_time.FromDatetime(dt.datetime.now(dt.UTC) + dt.timedelta(hours=1))
    return request


async def approve(system: System, increase_id: str) -> limit_admin_pb2.BudgetIncrease:
    request = limit_admin_pb2.ApproveBudgetIncreaseRequest(increase_id=increase_id)
    increase: limit_admin_pb2.BudgetIncrease = (
        await limits(system).ApproveBudgetIncrease(request)
    ).increase
    return increase


async def reject(system: System, increase_id: str) -> limit_admin_pb2.BudgetIncrease:
    request = limit_admin_pb2.RejectBudgetIncreaseRequest(increase_id=increase_id, reason="no")
    increase: limit_admin_pb2.BudgetIncrease = (
        await limits(system).RejectBudgetIncrease(request)
    ).increase
    return increase


async def go(system: System, user: str) -> gateway_pb2.CallDecision:
    return await decide(system.backend(), make(OPERATION, user=user))


async def test_a_boost_is_in_force_at_once_and_over_at_its_end_and_forgets_nothing(
    system: System,
) -> None:
    await cap(system, "u1-calls", 1, org="acme", user="u-1")
    request = wish("u1-calls")
    end = dt.datetime.now(dt.UTC) + dt.timedelta(seconds=6)
    request.end_time.FromDatetime(end)
    first, full = await go(system, "u-1"), await go(system, "u-1")
    asked = (await (await lead(system)).RequestBudgetIncrease(request)).increase
    waiting = await go(system, "u-1")
    approved = await approve(system, asked.increase_id)
    second, third = await go(system, "u-1"), await go(system, "u-1")
    explained = await limits(system).ExplainLimits(
        limit_admin_pb2.ExplainLimitsRequest(org="acme", call=make(OPERATION, user="u-1"))
    )
    await asyncio.sleep((end - dt.datetime.now(dt.UTC)).total_seconds() + 0.2)
    fourth = await go(system, "u-1")

    assert first.WhichOneof("decision") == second.WhichOneof("decision") == "admission"
    assert full.denial.reason == denial_pb2.DENIAL_REASON_RATE_EXCEEDED
    assert waiting.denial.violations[0].cap == 1
    assert (asked.state, asked.metric) == (
        approval_pb2.APPROVAL_STATE_PENDING,
        limit_pb2.METRIC_CALLS,
    )
    # The cap rose by one, on the counter that had one already, and fell again.
    (over,) = {(each.limit_id, each.cap, each.held) for each in third.denial.violations}
    assert over == (approved.boost_limit_id, 2, 2)
    assert approved.boost_limit_id in str(explained.candidates)
    (after,) = {(each.limit_id, each.cap, each.held) for each in fourth.denial.violations}
    assert after == ("u1-calls", 1, 2)


async def test_of_a_limit_on_each_org_only_the_cap_of_the_org_that_asks_rises(
    system: System,
) -> None:
    await cap(system, "each-user", 0, org="*", user="u-2")
    asked = (await (await lead(system)).RequestBudgetIncrease(wish("each-user"))).increase
    await approve(system, asked.increase_id)
    found = await system.staff().GetLimit(
        admin_pb2.GetLimitRequest(limit_id=f"boost-{asked.increase_id}")
    )
    later = (await (await lead(system)).RequestBudgetIncrease(wish("each-user"))).increase
    second = await refusal(approve(system, later.increase_id))

    assert dict(found.limit.scope) == {"org": "acme", "user": "u-2"}
    assert (await go(system, "u-2")).WhichOneof("decision") == "admission"
    # Two boosts at once would make the cap ambiguous; nothing was decided by the attempt.
    assert second.reason == "LIMIT_EXISTS"
    assert (await reject(system, later.increase_id)).decision_reason == "no"


async def test_it_is_decided_once_by_somebody_else_and_audited(system: System) -> None:
    await cap(system, "u3-calls", 0, org="acme", user="u-3")
    own = (await limits(system).RequestBudgetIncrease(wish("u3-calls"))).increase
    request = wish("u3-calls")
    theirs = (await (await lead(system)).RequestBudgetIncrease(request)).increase
    repeated = (await (await lead(system)).ListBudgetIncreases(listing("acme"))).increases
    refused = [
        await refusal(approve(system, own.increase_id)),
        await refusal(
            (await lead(system)).ApproveBudgetIncrease(
                limit_admin_pb2.ApproveBudgetIncreaseRequest(increase_id=theirs.increase_id)
            )
        ),
        await refusal(approve(system, str(uuid.uuid4()))),
        await refusal((await lead(system, "globex")).ListBudgetIncreases(listing("acme"))),
    ]
    await reject(system, theirs.increase_id)
    again = await reject(system, theirs.increase_id)
    closed = await refusal(approve(system, theirs.increase_id))

    assert [each.reason for each in refused] == [
        *("OWN_REQUEST", "PERMISSION_DENIED", "INCREASE_NOT_FOUND", "PERMISSION_DENIED")
    ]
    assert {own.increase_id, theirs.increase_id} <= {each.increase_id for each in repeated}
    assert again.state == approval_pb2.APPROVAL_STATE_REJECTED
    assert (closed.reason, closed.metadata["state"]) == ("INCREASE_CLOSED", "rejected")
    assert (await go(system, "u-3")).WhichOneof("decision") == "denial"
    rows = await system.fetch(
        "gateway",
        "SELECT e.action, o.done FROM audit_entry AS e JOIN audit_outcome AS o USING (audit_id)"
        " WHERE e.target = $1 ORDER BY e.position",
        f"increase/{theirs.increase_id}",
    )
    assert [tuple(each) for each in rows] == [
        ("RequestBudgetIncrease", True),
        ("RejectBudgetIncrease", True),
        ("RejectBudgetIncrease", True),
        ("ApproveBudgetIncrease", False),
    ]


def listing(org: str) -> limit_admin_pb2.ListBudgetIncreasesRequest:
    return limit_admin_pb2.ListBudgetIncreasesRequest(org=org, page_size=100)


async def test_wrong_requests_are_refused_and_change_nothing(system: System) -> None:
    await cap(system, "u4-calls", 5, org="globex", user="u-4")
    staff = limits(system)
    past, far = wish("u4-calls", org="globex"), wish("u4-calls", org="globex")
    past.end_time.FromSeconds(1_000_000_000)
    far.end_time.FromDatetime(dt.datetime.now(dt.UTC) + dt.timedelta(days=367))
    broken = wish("u4-calls", org="globex")
    broken.end_time.nanos = -1
    huge = 10**18
    for request, field in (
        (wish("u4-calls", org="globex", increase_id="7"), "increase_id"),
        (wish("no such!", org="globex"), "limit_id"),
        (wish("u4-calls", org="?"), "org"),
        (wish("u4-calls", org="globex", amount=0), "amount"),
        (wish("u4-calls", org="globex", amount=huge), "amount"),
        (wish("u4-calls", org="globex", reason=" "), "reason"),
        (broken, "end_time"),
        (past, "end_time"),
        (far, "end_time"),
    ):
        assert (await refusal(staff.RequestBudgetIncrease(request))).fields == (field,)
    unknown = await refusal(staff.RequestBudgetIncrease(wish("nowhere")))
    foreign = await refusal(staff.RequestBudgetIncrease(wish("u4-calls")))
    assert unknown.reason == foreign.reason == "LIMIT_NOT_FOUND"
    taken = wish("u4-calls", org="globex")
    await staff.RequestBudgetIncrease(taken)
    taken.amount += 1
    assert (await refusal(staff.RequestBudgetIncrease(taken))).reason == "ID_REUSED"
    state: dict[str, Any] = {"state": 9}
    wrong = limit_admin_pb2.ListBudgetIncreasesRequest(**state)
    assert (await refusal(staff.ListBudgetIncreases(wrong))).fields == ("state",)
    assert len((await staff.ListBudgetIncreases(listing("globex"))).increases) == 1
