"""The staff's service about calls that need a person's leave."""

from __future__ import annotations

from typing import Any

import grpc

from gateway.admin.approvals import StoredApprovals
from gateway.servicer import principal
from headgate.api.gateway.v1 import approval_admin_pb2 as pb
from headgate.api.gateway.v1 import approval_admin_pb2_grpc as pb_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class ApprovalAdminServicer(pb_grpc.ApprovalAdminServiceServicer):
    """Serves staff, each as far as `access` lets them; every decision leaves an audit entry."""

    def __init__(self, approvals: StoredApprovals) -> None:
        self._approvals = approvals

    async def GetApproval(
        self, request: pb.GetApprovalRequest, context: Context
    ) -> pb.GetApprovalResponse:
        return await self._approvals.get(request)

    async def ListApprovals(
        self, request: pb.ListApprovalsRequest, context: Context
    ) -> pb.ListApprovalsResponse:
        return await self._approvals.list(request)

    async def ApproveCall(
        self, request: pb.ApproveCallRequest, context: Context
    ) -> pb.ApproveCallResponse:
        return await self._approvals.approve(request, principal())

    async def RejectCall(
        self, request: pb.RejectCallRequest, context: Context
    ) -> pb.RejectCallResponse:
        return await self._approvals.reject(request, principal())
