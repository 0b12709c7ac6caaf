"""The RPCs: parse, call the use case, render."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TypeAlias

import grpc

from chassis.handlers import deadline
from headgate.api.accounting.v1 import accounting_pb2 as pb
from headgate.api.accounting.v1 import accounting_pb2_grpc as pb_grpc
from services.accounting import (
    wire,
    wire_feed,
    wire_feedback,
    wire_prices,
    wire_sums,
    wire_usage,
)
from services.accounting.domain.usage import Report
from services.accounting.feedback import Feedback
from services.accounting.ledger import Ledger
from services.accounting.prices import Prices
from services.accounting.store import UsageStore
from services.accounting.summaries import Summaries

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"


class AccountingServicer(pb_grpc.AccountingServiceServicer):
    """Serves the accounting contract."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        prices: Prices,
        store: UsageStore,
        summaries: Summaries,
        feedback: Feedback,
    ) -> None:
        self._feedback = feedback
        self._ledger = ledger
        self._prices = prices
        self._store = store
        self._summaries = summaries
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
        after, limit = wire_feed.parse_feed(request)
        return wire_feed.render_feed(await self._store.list_settlements(after, limit))

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
        override, audit_id = wire_prices.parse_put(request)
        entry = await self._prices.put(override, audit_id=audit_id)
        return wire_prices.render_put(override, entry)

    async def DeletePrice(
        self, request: pb.DeletePriceRequest, context: Context
    ) -> pb.DeletePriceResponse:
        key, audit_id = wire_prices.parse_delete(request)
        return pb.DeletePriceResponse(version=await self._prices.delete(key, audit_id=audit_id))

    async def ReplayUsage(
        self, request: pb.ReplayUsageRequest, context: Context
    ) -> AsyncIterator[pb.ReplayUsageResponse]:
        start, end, org = wire_feed.parse_replay(request)
        async for part in self._store.replay(start=start, end=end, org=org):
            yield wire_feed.render_replay(part)

    async def GetUsage(self, request: pb.GetUsageRequest, context: Context) -> pb.GetUsageResponse:
        question = wire_usage.parse_question(request)
        page = await self._summaries.answer(
            question.query, source=question.source, count=question.count, after=question.after
        )
        if question.with_scores:
            await self._feedback.add_scores(question.query, page)
        return wire_sums.render_page(question, page)

    async def RecordFeedback(
        self, request: pb.RecordFeedbackRequest, context: Context
    ) -> pb.RecordFeedbackResponse:
        effect = await self._feedback.record(wire_feedback.parse_score(request))
        return wire_feedback.render_effect(effect)
