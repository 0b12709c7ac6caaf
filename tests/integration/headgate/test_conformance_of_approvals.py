"""The fake gateway asks people, and takes their leave, as the real one does."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import grpc.aio
import pytest
import pytest_asyncio
from google.protobuf.duration_pb2 import Duration

from headgate.api.common.v1 import denial_pb2
from headgate.api.gateway.v1 import approval_pb2, gateway_pb2_grpc
from headgate.api.gateway.v1 import gateway_pb2 as pb
from headgate.testing import FakeGateway, serve_gateway
from tests.integration.gateway import leave
from tests.integration.gateway.system import ACME_KEY, GLOBEX_KEY, Keyed, System, new_id
from tests.integration.headgate.asking import ask, refused
from tests.integration.headgate.real import running_system

pytestmark = pytest.mark.asyncio(loop_scope="module")

OPERATION = "pay"
# The fake's candidates of an operation, and the real one's.
ROUTE = (("openai", "gpt-4o-mini"), ("anthropic", "claude-haiku-4-5"))


@dataclass(slots=True)
class Side:
    """A gateway, and its people."""

    acme: Keyed
    globex: Keyed
    people: FakeGateway | System

    async def approve(self, approval: approval_pb2.Approval) -> None:
        if isinstance(self.people, FakeGateway):
            self.people.ledger.approvals.approve(approval.call_id)
        else:
            await leave.approve(self.people, approval)

    async def reject(self, approval: approval_pb2.Approval) -> None:
        if isinstance(self.people, FakeGateway):
            self.people.ledger.approvals.reject(approval.call_id, reason="Too dear.")
        else:
            await leave.reject(self.people, approval)


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["memory", "fake", "real"])
async def side(
    request: pytest.FixtureRequest, postgres_url: str, pytestconfig: pytest.Config
) -> AsyncIterator[Side]:
    people: FakeGateway | System
    async with contextlib.AsyncExitStack() as stack:
        if request.param == "real":
            people = await stack.enter_async_context(running_system(postgres_url, pytestconfig))
            await leave.write_route(people, OPERATION, approval_required=True)
            channel = grpc.aio.insecure_channel(people.addresses["gateway"])
        else:
            people = FakeGateway(keys={ACME_KEY: ("acme",), GLOBEX_KEY: ("globex",)})
            people.ledger.routes[OPERATION] = ROUTE
            people.ledger.approvals.operations.add(OPERATION)
            channel = people.open_channel()
            if request.param == "fake":
                await stack.enter_async_context(serve_gateway(people))
                channel = grpc.aio.insecure_channel(people.target)
        await stack.enter_async_context(channel)
        stub = gateway_pb2_grpc.GatewayServiceStub(channel)
        yield Side(Keyed(stub, ACME_KEY), Keyed(stub, GLOBEX_KEY), people)


def wish(**values: object) -> pb.AdmitCallRequest:
    return ask(operation=OPERATION, **values)


async def flaw(backend: Keyed, call: pb.AdmitCallRequest) -> str:
    denial = (await leave.decide(backend, call)).denial
    assert denial.reason == denial_pb2.DENIAL_REASON_APPROVAL_REFUSED
    return denial_pb2.ApprovalFlaw.Name(denial.approval_flaw).removeprefix("APPROVAL_FLAW_")


async def test_a_call_is_asked_about_decided_and_made_once(side: Side) -> None:
    call = wish()
    denied = (await leave.decide(side.acme, call)).denial
    approval = await leave.ask(side.acme, call)
    waiting = leave.states_of(side.acme, approval)

    assert denied.reason == denial_pb2.DENIAL_REASON_APPROVAL_REQUIRED
    assert denied.fallback_text
    assert (approval.state, approval.org) == (approval_pb2.APPROVAL_STATE_PENDING, "acme")
    assert approval.summary == "The year, please."
    assert [(each.provider, each.model) for each in approval.candidates] == list(ROUTE)
    assert await leave.ask(side.acme, call) == approval
    assert await anext(waiting) == approval
    call.approval_id = approval.approval_id
    assert await flaw(side.acme, call) == "PENDING"
    await side.approve(approval)
    decided = await anext(waiting)
    assert decided.state == approval_pb2.APPROVAL_STATE_APPROVED
    assert decided.decider
    assert [each async for each in waiting] == []
    admission = (await leave.decide(side.acme, call)).admission
    assert admission.held_nanos <= approval.cost_nanos_max
    assert (await leave.decide(side.acme, call)).admission.replayed
    assert await flaw(side.acme, wish(approval_id=approval.approval_id)) == "OTHER_CALL"
    shown = {"parent_call_id": call.call_id, "approval_id": approval.approval_id}
    failed = {"excluded_candidates": [admission.candidate]}
    second = (await leave.decide(side.acme, wish(**shown, **failed))).admission
    assert second.candidate != admission.candidate
    assert await flaw(side.acme, wish(**shown, **failed)) == "OTHER_CALL"


async def test_what_does_not_hold_is_refused_with_why(side: Side) -> None:
    refusal, given = wish(), wish()
    no, yes = await leave.ask(side.acme, refusal), await leave.ask(side.acme, given)
    await side.reject(no)
    await side.approve(yes)
    refusal.approval_id, given.approval_id = no.approval_id, yes.approval_id
    changed = pb.AdmitCallRequest()
    changed.CopyFrom(given)
    changed.input_token_count += 1

    assert await flaw(side.acme, refusal) == "REJECTED"
    assert await flaw(side.acme, changed) == "CHANGED"
    assert await flaw(side.acme, wish(approval_id=new_id())) == "UNKNOWN"
    assert await flaw(side.globex, given) == "UNKNOWN"
    (seen,) = [each async for each in leave.states_of(side.acme, no)]
    assert (seen.state, seen.reason) == (approval_pb2.APPROVAL_STATE_REJECTED, "Too dear.")
    foreign = await refused(anext(leave.states_of(side.globex, no)))
    assert foreign.reason == "APPROVAL_NOT_FOUND"


async def test_what_needs_nobody_is_not_asked_about_and_what_is_wrong_is_named(side: Side) -> None:
    assert not (await leave.ask(side.acme, ask())).approval_id
    wrong: list[tuple[list[str], dict[str, Any]]] = [
        (["summary"], {"summary": ""}),
        (["summary"], {"summary": "x" * 1_025}),
        (["lifetime.seconds"], {"lifetime": Duration(seconds=59)}),
        (["call.approval_id"], {"call": wish(approval_id=new_id())}),
        (["call.call_id"], {"call": wish(call_id="x")}),
    ]
    for fields, values in wrong:
        given: dict[str, Any] = {"call": wish(), "summary": "The year."} | values
        failure = await refused(side.acme.RequestApproval(pb.RequestApprovalRequest(**given)))
        assert [each.field for each in failure.violations] == fields
    taken = wish()
    await leave.ask(side.acme, taken)
    taken.input_token_count += 1
    assert (await refused(leave.ask(side.acme, taken))).reason == "ID_REUSED"
