"""The RPCs about alerts and events: parse, call the use case, render."""

from __future__ import annotations

from typing import TypeAlias

import grpc

from headgate.api.accounting.v1 import alerts_pb2 as pb
from headgate.api.accounting.v1 import alerts_pb2_grpc as pb_grpc
from services.accounting.alerts import wire
from services.accounting.alerts.store import AlertStore

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"


class AlertServicer(pb_grpc.AlertServiceServicer):
    """Serves the contract of alerts."""

    def __init__(self, store: AlertStore) -> None:
        self._store = store

    async def ListAlerts(
        self, request: pb.ListAlertsRequest, context: Context
    ) -> pb.ListAlertsResponse:
        query = wire.parse_alert_query(request)
        return wire.render_alerts(await self._store.list_alerts(query), query)

    async def GetAlert(self, request: pb.GetAlertRequest, context: Context) -> pb.GetAlertResponse:
        alert, changes = await self._store.get_alert(*wire.parse_alert_id(request))
        return pb.GetAlertResponse(
            alert=wire.render_alert(alert), changes=map(wire.render_change, changes)
        )

    async def AcknowledgeAlert(
        self, request: pb.AcknowledgeAlertRequest, context: Context
    ) -> pb.AcknowledgeAlertResponse:
        alert = await self._store.acknowledge(wire.parse_staff_change(request))
        return pb.AcknowledgeAlertResponse(alert=wire.render_alert(alert))

    async def ResolveAlert(
        self, request: pb.ResolveAlertRequest, context: Context
    ) -> pb.ResolveAlertResponse:
        alert = await self._store.resolve(wire.parse_staff_change(request))
        return pb.ResolveAlertResponse(alert=wire.render_alert(alert))

    async def CreateAlertMute(
        self, request: pb.CreateAlertMuteRequest, context: Context
    ) -> pb.CreateAlertMuteResponse:
        mute = await self._store.create_mute(wire.parse_mute(request))
        return pb.CreateAlertMuteResponse(mute=wire.render_mute(mute))

    async def DeleteAlertMute(
        self, request: pb.DeleteAlertMuteRequest, context: Context
    ) -> pb.DeleteAlertMuteResponse:
        mute_id, org, audit_id = wire.parse_mute_id(request)
        await self._store.delete_mute(mute_id, org, audit_id=audit_id)
        return pb.DeleteAlertMuteResponse()

    async def ListAlertMutes(
        self, request: pb.ListAlertMutesRequest, context: Context
    ) -> pb.ListAlertMutesResponse:
        mutes = await self._store.list_mutes(wire.parse_mute_list(request))
        return pb.ListAlertMutesResponse(mutes=map(wire.render_mute, mutes))

    async def RecordEvent(
        self, request: pb.RecordEventRequest, context: Context
    ) -> pb.RecordEventResponse:
        event_id, event = wire.parse_event(request)
        return pb.RecordEventResponse(first=await self._store.record_event(event, event_id))

    async def ListEvents(
        self, request: pb.ListEventsRequest, context: Context
    ) -> pb.ListEventsResponse:
        query = wire.parse_event_query(request)
        return wire.render_events(await self._store.list_events(query), query)
