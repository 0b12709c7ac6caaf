"""Requests for leave: listed, and refused where they are wrong or too many."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration

from headgate.api.gateway.v1 import approval_admin_pb2, gateway_pb2
from tests.integration.gateway.leave import (
    PENDING,
    REJECTED,
    approve,
    ask,
    make,
    people,
    reject,
    write_route,
)
from tests.integration.gateway.system import GLOBEX_KEY, System, eventually, new_id, refusal
from tests.integration.headgate.real import running_system

pytestmark = pytest.mark.asyncio(loop_scope="module")

ASKED: Final = "SELECT approval_id FROM approval WHERE operation = $1"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(postgres_url: str, pytestconfig: pytest.Config) -> AsyncIterator[System]:
    async with running_system(postgres_url, pytestconfig) as running:
        yield running


@pytest.fixture
def operation(request: pytest.FixtureRequest) -> str:
    """An operation of the test's own: one system serves them all."""
    return f"{request.node.name[:60]}".replace("[", "-").replace("]", "")


async def test_lists_come_in_pages_by_org_operation_and_state(
    system: System, operation: str
) -> None:
    await write_route(system, operation, approval_required=True)
    acme, globex = system.backend(), system.backend(GLOBEX_KEY)
    first, second = await ask(acme, make(operation)), await ask(acme, make(operation))
    other = await ask(globex, make(operation))
    await reject(system, second)

    async def listed(**values: Any) -> list[str]:
        request = approval_admin_pb2.ListApprovalsRequest(page_size=1, **values)
        found = []
        while True:
            page = await people(system).ListApprovals(request)
            found += [each.approval_id for each in page.approvals]
            request.page_token = page.next_page_token
            if not request.page_token:
                return found

    mine = {"operation": operation}
    assert await listed(**mine) == [each.approval_id for each in (other, second, first)]
    assert await listed(**mine, org="acme", state=PENDING) == [first.approval_id]
    assert await listed(**mine, state=REJECTED) == [second.approval_id]
    assert await listed(operation="chat") == []
    shown = approval_admin_pb2.GetApprovalRequest(approval_id=first.approval_id, org="acme")
    assert (await people(system).GetApproval(shown)).approval == first
    shown.org = "globex"
    assert (await refusal(people(system).GetApproval(shown))).reason == "APPROVAL_NOT_FOUND"


async def test_wrong_requests_are_refused_by_the_name_of_the_field(
    system: System, operation: str
) -> None:
    await write_route(system, operation, approval_required=True)
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("summary", {"summary": ""}),
        ("summary", {"summary": "x" * 1_025}),
        ("lifetime.seconds", {"lifetime": Duration(seconds=59)}),
        ("lifetime.seconds", {"lifetime": Duration(seconds=8 * 86_400)}),
        ("lifetime.nanos", {"lifetime": Duration(seconds=60, nanos=-1)}),
        ("call.call_id", {"call": make(operation, call_id="x")}),
        ("call.approval_id", {"call": make(operation, approval_id=new_id())}),
    ]
    for field, values in wrong:
        given: dict[str, Any] = {"call": make(operation), "summary": "The year."} | values
        request = gateway_pb2.RequestApprovalRequest(**given)
        refused = await refusal(system.backend().RequestApproval(request))
        assert (refused.code, refused.fields) == ("INVALID_ARGUMENT", (field,))
    staff, nobody = people(system), {"approval_id": new_id()}
    later: dict[str, Any] = {"state": 9}
    for rpc, field in (
        (staff.RejectCall(approval_admin_pb2.RejectCallRequest(**nobody)), "reason"),
        (staff.ApproveCall(approval_admin_pb2.ApproveCallRequest(approval_id="1")), "approval_id"),
        (staff.GetApproval(approval_admin_pb2.GetApprovalRequest(org="?", **nobody)), "org"),
        (staff.ListApprovals(approval_admin_pb2.ListApprovalsRequest(**later)), "state"),
        (
            staff.ListApprovals(approval_admin_pb2.ListApprovalsRequest(page_token="x")),
            "page_token",
        ),
    ):
        assert (await refusal(rpc)).fields == (field,)
    unknown = await refusal(staff.ApproveCall(approval_admin_pb2.ApproveCallRequest(**nobody)))
    assert unknown.reason == "APPROVAL_NOT_FOUND"
    taken = make(operation)
    await ask(system.backend(), taken)
    taken.max_output_token_count = 7
    assert (await refusal(ask(system.backend(), taken))).reason == "ID_REUSED"
    assert len(await system.fetch("gateway", ASKED, operation)) == 1


async def test_events_tell_of_each_request_and_each_decision_once(
    system: System, operation: str
) -> None:
    await write_route(system, operation, approval_required=True)
    first, second = [await ask(system.backend(), make(operation)) for _ in range(2)]
    await approve(system, first)
    told = "SELECT type, data FROM event WHERE subject = $1 AND org = 'acme' ORDER BY event_number"

    async def events(approval_id: str) -> list[str]:
        found = await system.fetch("accounting", told, f"approval/{approval_id}")
        return [row["type"] for row in found]

    async def are_told() -> bool:
        return (
            len(await events(first.approval_id)) == 2
            and len(await events(second.approval_id)) == 1
        )

    await eventually(are_told)
    # A gateway that died after telling tells again.
    await system.fetch(
        "gateway", "UPDATE approval SET request_told = FALSE, decision_told = FALSE"
    )

    async def are_told_again() -> bool:
        untold = "SELECT FROM approval WHERE NOT request_told"
        return await system.fetch("gateway", untold) == []

    await eventually(are_told_again)
    assert await events(first.approval_id) == ["approval.requested", "approval.decided"]
    assert await events(second.approval_id) == ["approval.requested"]


async def test_an_org_asks_only_so_much_at_once(system: System, operation: str) -> None:
    await write_route(system, operation, approval_required=True)
    acme = system.backend()
    first = make(operation)
    await ask(acme, first)
    await system.fetch(
        "gateway",
        "INSERT INTO approval (org, call_id, operation, requester, subject, summary, need,"
        " providers, models, cost_nanos_max, dimensions, expire_time)"
        " SELECT org, gen_random_uuid(), 'flood', requester, subject, summary, need,"
        " providers, models, cost_nanos_max, dimensions, expire_time"
        " FROM approval, generate_series(1, 1000) WHERE operation = $1",
        operation,
    )
    try:
        refused = await refusal(ask(acme, make(operation)))
        repeated = await ask(acme, first)
    finally:
        await system.fetch("gateway", "DELETE FROM approval WHERE operation = 'flood'")

    assert (refused.reason, refused.metadata) == ("TOO_MANY_APPROVALS", {"org": "acme"})
    assert repeated.state == PENDING
