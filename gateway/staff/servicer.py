"""The service that lets people in: each method goes to the module of its noun."""

from __future__ import annotations

from typing import Any

import grpc

from chassis import server
from gateway.servicer import principal
from gateway.staff.invitations import Invitations
from gateway.staff.members import Members
from gateway.staff.oidc.logins import OidcLogins
from gateway.staff.sessions import Sessions
from headgate.api.gateway.v1 import staff_pb2 as pb
from headgate.api.gateway.v1 import staff_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class StaffServicer(staff_pb2_grpc.StaffServiceServicer):
    """Serves people who come, go and are invited; every change leaves an audit entry."""

    def __init__(
        self,
        sessions: Sessions,
        invitations: Invitations,
        members: Members,
        oidc: OidcLogins,
    ) -> None:
        self._sessions = sessions
        self._oidc = oidc
        self._invitations = invitations
        self._members = members

    async def Bootstrap(
        self, request: pb.BootstrapRequest, context: Context
    ) -> pb.BootstrapResponse:
        return await self._invitations.bootstrap(request)

    async def Login(self, request: pb.LoginRequest, context: Context) -> pb.LoginResponse:
        return await self._sessions.login(request, _shown())

    async def BeginOidcLogin(
        self, request: pb.BeginOidcLoginRequest, context: Context
    ) -> pb.BeginOidcLoginResponse:
        return await self._oidc.begin(request)

    async def FinishOidcLogin(
        self, request: pb.FinishOidcLoginRequest, context: Context
    ) -> pb.FinishOidcLoginResponse:
        return await self._oidc.finish(request)

    async def Logout(self, request: pb.LogoutRequest, context: Context) -> pb.LogoutResponse:
        await self._sessions.logout(request, principal(), _shown())
        return pb.LogoutResponse()

    async def GetSession(
        self, request: pb.GetSessionRequest, context: Context
    ) -> pb.GetSessionResponse:
        return await self._sessions.get(principal(), _shown())

    async def ChangePassword(
        self, request: pb.ChangePasswordRequest, context: Context
    ) -> pb.ChangePasswordResponse:
        return await self._sessions.change_password(request, principal(), _shown())

    async def InviteStaff(
        self, request: pb.InviteStaffRequest, context: Context
    ) -> pb.InviteStaffResponse:
        return await self._invitations.invite(request, principal())

    async def ResetStaffPassword(
        self, request: pb.ResetStaffPasswordRequest, context: Context
    ) -> pb.ResetStaffPasswordResponse:
        return await self._invitations.reset_password(request, principal())

    async def AcceptInvitation(
        self, request: pb.AcceptInvitationRequest, context: Context
    ) -> pb.AcceptInvitationResponse:
        return await self._invitations.accept(request)

    async def RevokeInvitation(
        self, request: pb.RevokeInvitationRequest, context: Context
    ) -> pb.RevokeInvitationResponse:
        return await self._invitations.revoke(request, principal())

    async def ListInvitations(
        self, request: pb.ListInvitationsRequest, context: Context
    ) -> pb.ListInvitationsResponse:
        return await self._invitations.list(request)

    async def ListStaff(
        self, request: pb.ListStaffRequest, context: Context
    ) -> pb.ListStaffResponse:
        return await self._members.list(request)

    async def PutStaffGrants(
        self, request: pb.PutStaffGrantsRequest, context: Context
    ) -> pb.PutStaffGrantsResponse:
        return await self._members.put_grants(request, principal())

    async def DisableStaff(
        self, request: pb.DisableStaffRequest, context: Context
    ) -> pb.DisableStaffResponse:
        return await self._members.disable(request, principal())

    async def EnableStaff(
        self, request: pb.EnableStaffRequest, context: Context
    ) -> pb.EnableStaffResponse:
        return await self._members.enable(request, principal())


def _shown() -> str:
    """Returns the token that the caller shows, if any."""
    scheme, _, token = str(server.metadata().get("authorization", "")).partition(" ")
    return token if scheme.lower() == "bearer" else ""
