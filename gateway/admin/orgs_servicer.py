"""The staff's service about orgs."""

from __future__ import annotations

from typing import Any

import grpc

from gateway.admin.orgs import StoredOrgs
from gateway.servicer import principal
from headgate.api.gateway.v1 import org_admin_pb2 as pb
from headgate.api.gateway.v1 import org_admin_pb2_grpc as pb_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class OrgAdminServicer(pb_grpc.OrgAdminServiceServicer):
    """Serves staff, each as far as `access` lets them; every change leaves an audit entry."""

    def __init__(self, orgs: StoredOrgs) -> None:
        self._orgs = orgs

    async def CreateOrg(
        self, request: pb.CreateOrgRequest, context: Context
    ) -> pb.CreateOrgResponse:
        return await self._orgs.create(request, principal())

    async def UpdateOrg(
        self, request: pb.UpdateOrgRequest, context: Context
    ) -> pb.UpdateOrgResponse:
        return await self._orgs.update(request, principal())

    async def GetOrg(self, request: pb.GetOrgRequest, context: Context) -> pb.GetOrgResponse:
        return await self._orgs.get(request)

    async def ListOrgs(self, request: pb.ListOrgsRequest, context: Context) -> pb.ListOrgsResponse:
        return await self._orgs.list(request, principal())

    async def SuspendOrg(
        self, request: pb.SuspendOrgRequest, context: Context
    ) -> pb.SuspendOrgResponse:
        return await self._orgs.suspend(request, principal())

    async def ResumeOrg(
        self, request: pb.ResumeOrgRequest, context: Context
    ) -> pb.ResumeOrgResponse:
        return await self._orgs.resume(request, principal())
