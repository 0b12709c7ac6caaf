"""The staff's service about what will be spent, which is accounting's to say."""

from __future__ import annotations

from typing import Any

import grpc

from gateway.admin.audit import Audit
from gateway.admin.restating import Restating
from gateway.peers import Accounting
from headgate.api.accounting.v1 import forecasts_pb2 as inner
from headgate.api.gateway.v1 import forecast_admin_pb2 as pb
from headgate.api.gateway.v1 import forecast_admin_pb2_grpc as pb_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class ForecastAdminServicer(pb_grpc.ForecastAdminServiceServicer):
    """Serves staff, each as far as `access` lets them; accounting checks every field."""

    def __init__(self, accounting: Accounting, audit: Audit) -> None:
        self._stub = accounting.forecasts
        self._pass = Restating(audit)

    async def GetForecast(
        self, request: pb.GetForecastRequest, context: Context
    ) -> pb.GetForecastResponse:
        method, kind = self._stub.GetForecast, inner.GetForecastRequest
        return await self._pass.read(method, request, kind, pb.GetForecastResponse)

    async def ForecastCalls(
        self, request: pb.ForecastCallsRequest, context: Context
    ) -> pb.ForecastCallsResponse:
        method, kind = self._stub.ForecastCalls, inner.ForecastCallsRequest
        return await self._pass.read(method, request, kind, pb.ForecastCallsResponse)
