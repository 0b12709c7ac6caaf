"""The staff's service about alerts and events, which are accounting's."""

from __future__ import annotations

from typing import Any

import grpc

from gateway.admin.audit import Audit
from gateway.admin.restating import Restating
from gateway.peers import Accounting
from headgate.api.accounting.v1 import alerts_pb2 as inner
from headgate.api.gateway.v1 import alert_admin_pb2 as pb
from headgate.api.gateway.v1 import alert_admin_pb2_grpc as pb_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class AlertAdminServicer(pb_grpc.AlertAdminServiceServicer):
    """Serves staff, each as far as `access` lets them; accounting checks every field."""

    def __init__(self, accounting: Accounting, audit: Audit) -> None:
        self._stub = accounting.alerts
        self._pass = Restating(audit)

    async def ListAlerts(
        self, request: pb.ListAlertsRequest, context: Context
    ) -> pb.ListAlertsResponse:
        method, kind = self._stub.ListAlerts, inner.ListAlertsRequest
        return await self._pass.read(method, request, kind, pb.ListAlertsResponse)

    async def GetAlert(self, request: pb.GetAlertRequest, context: Context) -> pb.GetAlertResponse:
        method, kind = self._stub.GetAlert, inner.GetAlertRequest
        return await self._pass.read(method, request, kind, pb.GetAlertResponse)

    async def AcknowledgeAlert(
        self, request: pb.AcknowledgeAlertRequest, context: Context
    ) -> pb.AcknowledgeAlertResponse:
        target, method = f"alert/{request.alert_id}", self._stub.AcknowledgeAlert
        kind, answer = inner.AcknowledgeAlertRequest, pb.AcknowledgeAlertResponse
        return await self._pass.change(target, method, request, kind, answer)

    async def ResolveAlert(
        self, request: pb.ResolveAlertRequest, context: Context
    ) -> pb.ResolveAlertResponse:
        target, method = f"alert/{request.alert_id}", self._stub.ResolveAlert
        kind, answer = inner.ResolveAlertRequest, pb.ResolveAlertResponse
        return await self._pass.change(target, method, request, kind, answer)

    async def CreateAlertMute(
        self, request: pb.CreateAlertMuteRequest, context: Context
    ) -> pb.CreateAlertMuteResponse:
        target, method = f"mute/{request.mute_id}", self._stub.CreateAlertMute
        kind, answer = inner.CreateAlertMuteRequest, pb.CreateAlertMuteResponse
        return await self._pass.change(target, method, request, kind, answer)

    async def DeleteAlertMute(
        self, request: pb.DeleteAlertMuteRequest, context: Context
    ) -> pb.DeleteAlertMuteResponse:
        target, method = f"mute/{request.mute_id}", self._stub.DeleteAlertMute
        kind, answer = inner.DeleteAlertMuteRequest, pb.DeleteAlertMuteResponse
        return await self._pass.change(target, method, request, kind, answer, repeatable=False)

    async def ListAlertMutes(
        self, request: pb.ListAlertMutesRequest, context: Context
    ) -> pb.ListAlertMutesResponse:
        method, kind = self._stub.ListAlertMutes, inner.ListAlertMutesRequest
        return await self._pass.read(method, request, kind, pb.ListAlertMutesResponse)

    async def ListEvents(
        self, request: pb.ListEventsRequest, context: Context
    ) -> pb.ListEventsResponse:
        method, kind = self._stub.ListEvents, inner.ListEventsRequest
        return await self._pass.read(method, request, kind, pb.ListEventsResponse)
