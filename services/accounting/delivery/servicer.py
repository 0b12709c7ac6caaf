"""The RPCs about channels and deliveries: parse, call the use case, render."""

from __future__ import annotations

from typing import TypeAlias

import grpc

from headgate.api.accounting.v1 import channels_pb2 as pb
from headgate.api.accounting.v1 import channels_pb2_grpc as pb_grpc
from services.accounting.delivery import wire
from services.accounting.delivery.desk import Desk

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"


class ChannelServicer(pb_grpc.ChannelServiceServicer):
    """Serves the contract of channels."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def PutChannel(
        self, request: pb.PutChannelRequest, context: Context
    ) -> pb.PutChannelResponse:
        channel, url, audit_id = wire.parse_channel(request)
        stored, secret = await self._desk.put(channel, url, audit_id=audit_id)
        return pb.PutChannelResponse(channel=wire.render_channel(stored), secret=secret)

    async def DeleteChannel(
        self, request: pb.DeleteChannelRequest, context: Context
    ) -> pb.DeleteChannelResponse:
        key, audit_id = wire.parse_key(request)
        await self._desk.channels.delete(key, audit_id=audit_id)
        return pb.DeleteChannelResponse()

    async def ListChannels(
        self, request: pb.ListChannelsRequest, context: Context
    ) -> pb.ListChannelsResponse:
        page = wire.parse_channel_page(request)
        channels = await self._desk.channels.list_page(
            page.org, after=page.after, limit=page.limit
        )
        return wire.render_channels(channels, page)

    async def RotateChannelSecret(
        self, request: pb.RotateChannelSecretRequest, context: Context
    ) -> pb.RotateChannelSecretResponse:
        key, audit_id = wire.parse_key(request)
        secret = await self._desk.channels.rotate_secret(key, audit_id=audit_id)
        return pb.RotateChannelSecretResponse(secret=secret)

    async def TestChannel(
        self, request: pb.TestChannelRequest, context: Context
    ) -> pb.TestChannelResponse:
        key, actor, audit_id = wire.parse_test(request)
        delivery = await self._desk.test(key, actor=actor, audit_id=audit_id)
        return pb.TestChannelResponse(delivery=wire.render_delivery(delivery))

    async def ListDeliveries(
        self, request: pb.ListDeliveriesRequest, context: Context
    ) -> pb.ListDeliveriesResponse:
        query = wire.parse_delivery_query(request)
        return wire.render_deliveries(await self._desk.list_deliveries(query), query)

    async def ReplayDeliveries(
        self, request: pb.ReplayDeliveriesRequest, context: Context
    ) -> pb.ReplayDeliveriesResponse:
        key, number, audit_id = wire.parse_replay(request)
        count = await self._desk.replay(key, number, audit_id=audit_id)
        return pb.ReplayDeliveriesResponse(replayed_count=count)
