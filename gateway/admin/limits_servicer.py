"""The service of what staff ask about limits."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc

from gateway.admin.budgets import Budgets
from gateway.admin.limit_questions import LimitQuestions
from gateway.servicer import principal
from headgate.api.gateway.v1 import limit_admin_pb2 as pb
from headgate.api.gateway.v1 import limit_admin_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class LimitAdminServicer(limit_admin_pb2_grpc.LimitAdminServiceServicer):
    """Serves staff who ask about limits."""

    def __init__(self, questions: LimitQuestions, budgets: Budgets) -> None:
        self._questions = questions
        self._budgets = budgets

    async def ExplainLimits(
        self, request: pb.ExplainLimitsRequest, context: Context
    ) -> pb.ExplainLimitsResponse:
        return await self._questions.explain(request)

    async def SimulateLimits(
        self, request: pb.SimulateLimitsRequest, context: Context
    ) -> AsyncIterator[pb.SimulateLimitsResponse]:
        async for progress in self._questions.simulate(request):
            yield progress

    async def ListViolations(
        self, request: pb.ListViolationsRequest, context: Context
    ) -> pb.ListViolationsResponse:
        return await self._questions.list_violations(request)

    async def WriteOffCalls(
        self, request: pb.WriteOffCallsRequest, context: Context
    ) -> pb.WriteOffCallsResponse:
        return await self._questions.write_off(request, principal())

    async def RequestBudgetIncrease(
        self, request: pb.RequestBudgetIncreaseRequest, context: Context
    ) -> pb.RequestBudgetIncreaseResponse:
        return await self._budgets.ask(request, principal())

    async def ListBudgetIncreases(
        self, request: pb.ListBudgetIncreasesRequest, context: Context
    ) -> pb.ListBudgetIncreasesResponse:
        return await self._budgets.list(request)

    async def ApproveBudgetIncrease(
        self, request: pb.ApproveBudgetIncreaseRequest, context: Context
    ) -> pb.ApproveBudgetIncreaseResponse:
        return await self._budgets.approve(request, principal())

    async def RejectBudgetIncrease(
        self, request: pb.RejectBudgetIncreaseRequest, context: Context
    ) -> pb.RejectBudgetIncreaseResponse:
        return await self._budgets.reject(request, principal())
