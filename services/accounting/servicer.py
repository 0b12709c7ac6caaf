"""The RPCs: parse, call the use case, render."""

from __future__ import annotations

from dataclasses import asdict
from typing import TypeAlias

import grpc

from chassis.handlers import deadline
from headgate.api.accounting.v1 import accounting_pb2 as pb
from headgate.api.accounting.v1 import accounting_pb2_grpc as pb_grpc
from services.accounting import wire, wire_prices, wire_usage
from services.accounting.domain.usage import Report
from services.accounting.ledger import Ledger
from services.accounting.prices import Prices
from services.accounting.store import UsageStore

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"


class AccountingServicer(pb_grpc.AccountingServiceServicer):
    """Serves the accounting contract."""

    def __init__(self, *, ledger: Ledger, prices: Prices, store: UsageStore) -> None:
        self._ledger = ledger
        self._prices = prices
        self._store = store
        # The book as last rendered: all callers of one version get the same answer.
        self._rendered = pb.GetPriceBookResponse()

    async def Record(self, request: pb.RecordRequest, context: Context) -> pb.RecordResponse:
        members = wire.parse_reports(request)
        reports = [member for member in members if isinstance(member, Report)]
        answers = await self._ledger.record(reports, deadline=deadline())
        return wire.render_record(members, answers)

    async def ListSettlements(
        self, request: pb.ListSettlementsRequest, context: Context
    ) -> pb.ListSettlementsResponse:
        after, limit = wire_usage.parse_feed(request)
        return wire_usage.render_feed(await self._store.list_settlements(after, limit))

    async def GetPriceBook(
        self, request: pb.GetPriceBookRequest, context: Context
    ) -> pb.GetPriceBookResponse:
        known_version = wire_prices.parse_known_version(request)
        book = await self._prices.book_of(known_version)
        if book.version <= known_version:
            return pb.GetPriceBookResponse(version=book.version)
        if self._rendered.version != book.version:
            self._rendered = wire_prices.render_book(book)
        return self._rendered

    async def PutPrice(self, request: pb.PutPriceRequest, context: Context) -> pb.PutPriceResponse:
        target, price = wire_prices.parse_put(request)
        return wire_prices.render_put(await self._prices.put(**asdict(target), price=price))

    async def DeletePrice(
        self, request: pb.DeletePriceRequest, context: Context
    ) -> pb.DeletePriceResponse:
        target = wire_prices.parse_delete(request)
        return pb.DeletePriceResponse(version=await self._prices.delete(**asdict(target)))

    async def GetUsage(self, request: pb.GetUsageRequest, context: Context) -> pb.GetUsageResponse:
        query = wire_usage.parse_usage_query(request)
        rows = await self._store.sum_usage(query, wire_usage.USAGE_ROW_COUNT_MAX + 1)
        return wire_usage.render_usage(query, rows)
