"""The staff's service about channels and deliveries, which are accounting's."""

from __future__ import annotations

from typing import Any, Final

import grpc

from gateway.admin.audit import Audit
from gateway.admin.restating import Restating
from gateway.peers import Accounting
from headgate.api.accounting.v1 import channels_pb2 as inner
from headgate.api.gateway.v1 import channel_admin_pb2 as pb
from headgate.api.gateway.v1 import channel_admin_pb2_grpc as pb_grpc

Context = grpc.aio.ServicerContext[Any, Any]

HIDDEN: Final = "***"


class ChannelAdminServicer(pb_grpc.ChannelAdminServiceServicer):
    """Serves staff, each as far as `access` lets them; accounting checks every field."""

    def __init__(self, accounting: Accounting, audit: Audit) -> None:
        self._stub = accounting.channels
        self._pass = Restating(audit)

    async def PutChannel(
        self, request: pb.PutChannelRequest, context: Context
    ) -> pb.PutChannelResponse:
        target, method = _target(request.org, request.channel.channel_id), self._stub.PutChannel
        kind, answer, shown = inner.PutChannelRequest, pb.PutChannelResponse, _hide(request)
        # A repetition would not get a new webhook's secret.
        return await self._pass.change(
            target, method, request, kind, answer, shown=shown, repeatable=False
        )

    async def DeleteChannel(
        self, request: pb.DeleteChannelRequest, context: Context
    ) -> pb.DeleteChannelResponse:
        target, method = _target(request.org, request.channel_id), self._stub.DeleteChannel
        kind, answer = inner.DeleteChannelRequest, pb.DeleteChannelResponse
        return await self._pass.change(target, method, request, kind, answer, repeatable=False)

    async def ListChannels(
        self, request: pb.ListChannelsRequest, context: Context
    ) -> pb.ListChannelsResponse:
        method, kind = self._stub.ListChannels, inner.ListChannelsRequest
        return await self._pass.read(method, request, kind, pb.ListChannelsResponse)

    async def RotateChannelSecret(
        self, request: pb.RotateChannelSecretRequest, context: Context
    ) -> pb.RotateChannelSecretResponse:
        target, method = _target(request.org, request.channel_id), self._stub.RotateChannelSecret
        kind, answer = inner.RotateChannelSecretRequest, pb.RotateChannelSecretResponse
        return await self._pass.change(target, method, request, kind, answer, repeatable=False)

    async def TestChannel(
        self, request: pb.TestChannelRequest, context: Context
    ) -> pb.TestChannelResponse:
        target, method = _target(request.org, request.channel_id), self._stub.TestChannel
        kind, answer = inner.TestChannelRequest, pb.TestChannelResponse
        return await self._pass.change(target, method, request, kind, answer, repeatable=False)

    async def ListDeliveries(
        self, request: pb.ListDeliveriesRequest, context: Context
    ) -> pb.ListDeliveriesResponse:
        method, kind = self._stub.ListDeliveries, inner.ListDeliveriesRequest
        return await self._pass.read(method, request, kind, pb.ListDeliveriesResponse)

    async def ReplayDeliveries(
        self, request: pb.ReplayDeliveriesRequest, context: Context
    ) -> pb.ReplayDeliveriesResponse:
        target, method = _target(request.org, request.channel_id), self._stub.ReplayDeliveries
        kind, answer = inner.ReplayDeliveriesRequest, pb.ReplayDeliveriesResponse
        return await self._pass.change(target, method, request, kind, answer)


def _target(org: str, channel_id: str) -> str:
    return f"channel/{channel_id}" + (f"@{org}" if org else "")


def _hide(request: pb.PutChannelRequest) -> pb.PutChannelRequest:
    """What the audit log keeps: a URL holds secrets."""
    shown = pb.PutChannelRequest()
    shown.CopyFrom(request)
    if shown.channel.url:
        shown.channel.url = HIDDEN
    return shown
