"""Asks people for leave, and answers as people do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

from headgate.api.common.v1 import call_pb2
from headgate.api.gateway.v1 import (
    admin_pb2,
    approval_admin_pb2,
    approval_admin_pb2_grpc,
    approval_pb2,
    gateway_pb2,
)
from tests.integration.gateway.system import ADMIN_KEY, Keyed, System, new_id

PENDING: Final = approval_pb2.APPROVAL_STATE_PENDING
APPROVED: Final = approval_pb2.APPROVAL_STATE_APPROVED
REJECTED: Final = approval_pb2.APPROVAL_STATE_REJECTED


def people(system: System, key: str = ADMIN_KEY, *, at: str = "gateway") -> Keyed:
    return Keyed(approval_admin_pb2_grpc.ApprovalAdminServiceStub(system.channel(at)), key)


def make(operation: str, **values: Any) -> gateway_pb2.AdmitCallRequest:
    defaults: dict[str, Any] = {
        "call_id": new_id(),
        "operation": operation,
        "input_token_count": 1_000,
        "max_output_token_count": 100,
    }
    return gateway_pb2.AdmitCallRequest(**defaults | values)


async def decide(backend: Any, call: gateway_pb2.AdmitCallRequest) -> gateway_pb2.CallDecision:
    decision: gateway_pb2.CallDecision = (await backend.AdmitCall(call)).decision
    return decision


async def ask(
    backend: Any, call: gateway_pb2.AdmitCallRequest, **values: Any
) -> approval_pb2.Approval:
    request = gateway_pb2.RequestApprovalRequest(call=call, summary="The year, please.", **values)
    approval: approval_pb2.Approval = (await backend.RequestApproval(request)).approval
    return approval


async def approve(system: System, approval: approval_pb2.Approval) -> approval_pb2.Approval:
    request = approval_admin_pb2.ApproveCallRequest(approval_id=approval.approval_id)
    decided: approval_pb2.Approval = (await people(system).ApproveCall(request)).approval
    return decided


async def reject(system: System, approval: approval_pb2.Approval) -> approval_pb2.Approval:
    request = approval_admin_pb2.RejectCallRequest(
        approval_id=approval.approval_id, reason="Too dear."
    )
    decided: approval_pb2.Approval = (await people(system).RejectCall(request)).approval
    return decided


async def states_of(backend: Any, approval: approval_pb2.Approval) -> AsyncIterator[Any]:
    request = gateway_pb2.AwaitApprovalRequest(approval_id=approval.approval_id)
    async for answer in backend.AwaitApproval(request, timeout=30.0):
        yield answer.approval


async def write_route(system: System, operation: str, **needs: Any) -> None:
    """Writes a route, with what calls of it need."""
    candidates = [
        call_pb2.Candidate(provider="openai", model="gpt-4o-mini"),
        call_pb2.Candidate(provider="anthropic", model="claude-haiku-4-5"),
    ]
    route = admin_pb2.Route(
        operation=operation, candidates=candidates, fallback_text="Later.", **needs
    )
    await system.staff().PutRoute(admin_pb2.PutRouteRequest(route=route))


async def held_count(system: System, operation: str) -> int:
    statement = "SELECT count(*) FROM reservation WHERE operation = $1"
    rows = await system.fetch("admission", statement, operation)
    return int(rows[0]["count"])
