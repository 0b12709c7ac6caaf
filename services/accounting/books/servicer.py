"""The RPCs about the books: parse, call the use case, render."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TypeAlias

import grpc

from chassis.errors import FieldViolation, InvalidArgument
from chassis.handlers import DEFAULT_DEADLINE_SECONDS, deadline
from headgate.api.accounting.v1 import books_pb2 as pb
from headgate.api.accounting.v1 import books_pb2_grpc as pb_grpc
from services.accounting.alerts.price_faults import IMPORT, PriceFaults
from services.accounting.books import wire, wire_manual, wire_reprice, wire_statements
from services.accounting.books.corrections import Corrections
from services.accounting.books.exports import Exports
from services.accounting.books.reconciliation import Reconciliation
from services.accounting.books.repricing import Repricing
from services.accounting.books.statements import Statements
from services.accounting.domain.bills import BadBillError
from services.accounting.ledger import Ledger
from services.accounting.prices import Prices

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"


class BookServicer(pb_grpc.BookServiceServicer):
    """Serves the contract of the books."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        prices: Prices,
        corrections: Corrections,
        repricing: Repricing,
        reconciliation: Reconciliation,
        exports: Exports,
        statements: Statements,
        price_faults: PriceFaults,
    ) -> None:
        self._statements = statements
        self._price_faults = price_faults
        self._ledger = ledger
        self._prices = prices
        self._corrections = corrections
        self._repricing = repricing
        self._reconciliation = reconciliation
        self._exports = exports

    async def RecordManualUsage(
        self, request: pb.RecordManualUsageRequest, context: Context
    ) -> pb.RecordManualUsageResponse:
        book = await self._prices.refresh()
        report, stated, _, _ = wire_manual.parse_manual(request, price_version=book.version)
        answer = await self._ledger.record_stated(report, stated)
        booking = wire_manual.expect_manual(report, answer)
        return pb.RecordManualUsageResponse(
            total_nanos=booking.total_nanos, replayed=not booking.first
        )

    async def AdjustUsage(
        self, request: pb.AdjustUsageRequest, context: Context
    ) -> pb.AdjustUsageResponse:
        wanted = wire.parse_adjustment(request)
        total, revision = await self._corrections.adjust(
            org=wanted.org,
            call_id=wanted.call_id,
            delta_nanos=wanted.delta_nanos,
            note=wanted.note,
            audit_id=wanted.audit_id,
        )
        return pb.AdjustUsageResponse(total_nanos=total, revision=revision)

    async def Reprice(self, request: pb.RepriceRequest, context: Context) -> pb.RepriceResponse:
        order = wire_reprice.parse_reprice(request)
        page = await self._repricing.reprice(order, until=_half_of_the_time())
        return wire_reprice.render_reprice(page, order)

    async def ImportPrices(
        self, request: pb.ImportPricesRequest, context: Context
    ) -> pb.ImportPricesResponse:
        async with self._price_faults.told(IMPORT, quiet=request.validate_only):
            overrides, audit_id = wire.parse_import(request)
            version, changed = await self._prices.import_all(
                overrides, audit_id=audit_id, validate_only=request.validate_only
            )
        return pb.ImportPricesResponse(
            version=version, changed_count=changed, unchanged_count=len(overrides) - changed
        )

    async def ReconcileBill(
        self, request: pb.ReconcileBillRequest, context: Context
    ) -> pb.ReconcileBillResponse:
        bill = wire.parse_bill(request)
        try:
            deviations, total = await self._reconciliation.compare(bill)
        except BadBillError as error:
            raise InvalidArgument([FieldViolation("content", str(error))]) from None
        return wire.render_comparison(deviations, total)

    async def ExportUsage(
        self, request: pb.ExportUsageRequest, context: Context
    ) -> AsyncIterator[pb.ExportUsageResponse]:
        kind, start, end, org = wire.parse_export(request)
        async for part in self._exports.write(kind, start=start, end=end, org=org):
            yield pb.ExportUsageResponse(
                data=part.data, row_count=part.row_count, total_count=part.total_count
            )

    async def CloseMonth(
        self, request: pb.CloseMonthRequest, context: Context
    ) -> pb.CloseMonthResponse:
        month, audit_id = wire_statements.parse_close(request)
        statement, closed = await self._statements.close(month, audit_id=audit_id)
        return pb.CloseMonthResponse(
            statement=wire_statements.render_statement(statement), closed=closed
        )

    async def ListStatements(
        self, request: pb.ListStatementsRequest, context: Context
    ) -> pb.ListStatementsResponse:
        found = await self._statements.list_statements(wire_statements.parse_list(request))
        return pb.ListStatementsResponse(statements=map(wire_statements.render_statement, found))

    async def GetStatement(
        self, request: pb.GetStatementRequest, context: Context
    ) -> pb.GetStatementResponse:
        query = wire_statements.parse_get(request)
        return wire_statements.render_lines(await self._statements.list_lines(query), query)


def _half_of_the_time() -> float:
    """Returns when half of the current RPC's time is used, in loop time."""
    now = asyncio.get_running_loop().time()
    at = deadline()
    return now + (DEFAULT_DEADLINE_SECONDS if at is None else at - now) / 2
