"""Requests for leave, as the people see them who decide."""

from __future__ import annotations

from chassis.errors import FailedPrecondition, NotFound, ServiceError
from gateway.admin.audit import Audit, describe
from gateway.admin.lists import newest_first, take_page
from gateway.approvals import wire
from gateway.approvals.store import (
    begin_decision,
    decide_approval,
    fetch_approval,
    list_approvals,
)
from gateway.domain.approvals import Approval, Obstacle, find_obstacle, is_decided
from gateway.principals import Principal
from gateway.store import Store, Transaction
from headgate.api.gateway.v1 import approval_admin_pb2 as pb


class StoredApprovals:
    """Shows requests and decides them. A decision binds on every gateway when it returns: each
    looks at the row itself.
    """

    def __init__(self, store: Store, audit: Audit) -> None:
        self._store = store
        self._audit = audit

    async def get(self, request: pb.GetApprovalRequest) -> pb.GetApprovalResponse:
        """Returns one request. Raises NotFound."""
        approval_id = wire.parse_name(request)
        found = await fetch_approval(self._store, approval_id)
        if found is None or request.org not in ("", found.org):
            raise NotFound("approval", approval_id)
        return pb.GetApprovalResponse(approval=wire.render(found))

    async def list(self, request: pb.ListApprovalsRequest) -> pb.ListApprovalsResponse:
        """Lists requests, newest first."""
        wire.parse_list(request)
        name = f"approvals/{request.org}/{request.operation}/{request.state}"
        place = newest_first(request, name)
        rows = await list_approvals(
            self._store,
            below=place.start,
            count_max=place.size + 1,
            org=request.org,
            operation=request.operation,
            state=request.state,
        )
        page, token = take_page(rows, place, lambda row: row.position)
        return pb.ListApprovalsResponse(approvals=map(wire.render, page), next_page_token=token)

    async def approve(
        self, request: pb.ApproveCallRequest, who: Principal
    ) -> pb.ApproveCallResponse:
        """Gives leave. Raises NotFound, FailedPrecondition."""
        wire.parse_decision(request, reason_length_min=0)
        decided = await self._decide(request, who, "ApproveCall", approved=True)
        return pb.ApproveCallResponse(approval=wire.render(decided))

    async def reject(self, request: pb.RejectCallRequest, who: Principal) -> pb.RejectCallResponse:
        """Refuses leave. Raises NotFound, FailedPrecondition."""
        wire.parse_decision(request, reason_length_min=1)
        decided = await self._decide(request, who, "RejectCall", approved=False)
        return pb.RejectCallResponse(approval=wire.render(decided))

    async def _decide(
        self,
        request: pb.ApproveCallRequest | pb.RejectCallRequest,
        who: Principal,
        action: str,
        *,
        approved: bool,
    ) -> Approval:
        approval_id = wire.parse_name(request)
        intent = describe(who, action, f"approval/{approval_id}", request)

        async def work(on: Transaction) -> Approval:
            found = await begin_decision(on, approval_id)
            obstacle = find_obstacle(found, org=request.org, actor=who.actor, approved=approved)
            if found is None or obstacle is not None:
                raise _refusal(obstacle, approval_id, found)
            if is_decided(found, approved=approved):
                return found
            await decide_approval(
                on, approval_id, approved=approved, decider=who.actor, reason=intent.reason
            )
            return await begin_decision(on, approval_id) or found

        return await self._audit.change_own(intent, work)


def _refusal(obstacle: Obstacle | None, approval_id: str, found: Approval | None) -> ServiceError:
    if found is None or obstacle is Obstacle.UNKNOWN:
        return NotFound("approval", approval_id)
    if obstacle is Obstacle.OWN:
        return FailedPrecondition(
            "nobody decides on what they asked for themselves", "OWN_REQUEST", request=approval_id
        )
    state = found.state.name.lower()
    return FailedPrecondition(
        f"the request is {state} already", "APPROVAL_CLOSED", approval=approval_id, state=state
    )
