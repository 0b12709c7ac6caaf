"""The staff's service about the books, which are accounting's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc

from chassis.errors import translate
from gateway.admin.audit import Audit
from gateway.admin.restating import Restating, restate
from gateway.peers import ACCOUNTING, Accounting
from headgate.api.accounting.v1 import books_pb2 as inner
from headgate.api.gateway.v1 import book_admin_pb2 as pb
from headgate.api.gateway.v1 import book_admin_pb2_grpc as pb_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class BookAdminServicer(pb_grpc.BookAdminServiceServicer):
    """Serves staff, each as far as `access` lets them; accounting checks every field."""

    def __init__(self, accounting: Accounting, audit: Audit) -> None:
        self._stub = accounting.books
        self._pass = Restating(audit)

    async def RecordManualUsage(
        self, request: pb.RecordManualUsageRequest, context: Context
    ) -> pb.RecordManualUsageResponse:
        target, method = f"usage/{request.usage.call_id}", self._stub.RecordManualUsage
        kind, answer = inner.RecordManualUsageRequest, pb.RecordManualUsageResponse
        return await self._pass.change(target, method, request, kind, answer)

    async def AdjustUsage(
        self, request: pb.AdjustUsageRequest, context: Context
    ) -> pb.AdjustUsageResponse:
        target, method = f"usage/{request.call_id}", self._stub.AdjustUsage
        kind, answer = inner.AdjustUsageRequest, pb.AdjustUsageResponse
        return await self._pass.change(target, method, request, kind, answer)

    async def Reprice(self, request: pb.RepriceRequest, context: Context) -> pb.RepriceResponse:
        target, method = f"usage/{request.provider}/{request.model}", self._stub.Reprice
        kind, answer = inner.RepriceRequest, pb.RepriceResponse
        return await self._pass.change(target, method, request, kind, answer)

    async def ImportPrices(
        self, request: pb.ImportPricesRequest, context: Context
    ) -> pb.ImportPricesResponse:
        target, method = f"prices/{len(request.prices)}", self._stub.ImportPrices
        kind, answer = inner.ImportPricesRequest, pb.ImportPricesResponse
        return await self._pass.change(target, method, request, kind, answer)

    async def ReconcileBill(
        self, request: pb.ReconcileBillRequest, context: Context
    ) -> pb.ReconcileBillResponse:
        target, method = f"bill/{request.provider}", self._stub.ReconcileBill
        kind, answer = inner.ReconcileBillRequest, pb.ReconcileBillResponse
        return await self._pass.change(target, method, request, kind, answer)

    async def ExportUsage(
        self, request: pb.ExportUsageRequest, context: Context
    ) -> AsyncIterator[pb.ExportUsageResponse]:
        wanted = restate(request, inner.ExportUsageRequest)
        try:
            async for part in self._stub.ExportUsage(wanted, wait_for_ready=True):
                yield restate(part, pb.ExportUsageResponse)
        except grpc.aio.AioRpcError as error:
            raise translate(error, peer=ACCOUNTING) from error

    async def CloseMonth(
        self, request: pb.CloseMonthRequest, context: Context
    ) -> pb.CloseMonthResponse:
        target, method = f"month/{request.month}", self._stub.CloseMonth
        kind, answer = inner.CloseMonthRequest, pb.CloseMonthResponse
        return await self._pass.change(target, method, request, kind, answer)

    async def ListStatements(
        self, request: pb.ListStatementsRequest, context: Context
    ) -> pb.ListStatementsResponse:
        kind, answer = inner.ListStatementsRequest, pb.ListStatementsResponse
        return await self._pass.read(self._stub.ListStatements, request, kind, answer)

    async def GetStatement(
        self, request: pb.GetStatementRequest, context: Context
    ) -> pb.GetStatementResponse:
        kind, answer = inner.GetStatementRequest, pb.GetStatementResponse
        return await self._pass.read(self._stub.GetStatement, request, kind, answer)
