"""The RPCs about what will be spent: parse, call the use case, render."""

from __future__ import annotations

from typing import TypeAlias

import grpc

from chassis.errors import translate
from headgate.api.accounting.v1 import forecasts_pb2 as pb
from headgate.api.accounting.v1 import forecasts_pb2_grpc as pb_grpc
from services.accounting.domain.pricebook import PriceBook
from services.accounting.domain.pricing import AmountTooLargeError, charge
from services.accounting.domain.usage import CostBasis, Outcome
from services.accounting.forecasts import wire
from services.accounting.forecasts.budgets import Budgets
from services.accounting.forecasts.store import SpendingStore
from services.accounting.forecasts.wire import PlannedCall
from services.accounting.prices import Prices

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"


class ForecastServicer(pb_grpc.ForecastServiceServicer):
    """Serves the contract of forecasts."""

    def __init__(self, *, store: SpendingStore, budgets: Budgets, prices: Prices) -> None:
        self._store = store
        self._budgets = budgets
        self._prices = prices

    async def GetForecast(
        self, request: pb.GetForecastRequest, context: Context
    ) -> pb.GetForecastResponse:
        wanted = wire.parse_slice(request)
        spending = await self._store.read(wanted)
        try:
            budgets = [] if wanted.operation else await self._budgets.forecast(wanted.org)
        except grpc.aio.AioRpcError as error:
            raise translate(error, peer="admission") from error
        return wire.render_forecast(spending, budgets)

    async def ForecastCalls(
        self, request: pb.ForecastCallsRequest, context: Context
    ) -> pb.ForecastCallsResponse:
        org, plan = wire.parse_plan(request)
        book = await self._prices.refresh()
        costs = [_price(book, org, planned) for planned in plan]
        return wire.render_costs(costs, plan, book.version)


def _price(book: PriceBook, org: str, planned: PlannedCall) -> int | None:
    """What one such call costs; None: something of it has no price, or it is beyond any price."""
    price = book.price_at(book.version, provider=planned.provider, model=planned.model, org=org)
    try:
        charged = charge(price, outcome=Outcome.SUCCEEDED, meters=planned.meters, held_nanos=0)
    except AmountTooLargeError:
        return None
    return charged.total_nanos if charged.basis is CostBasis.METERS else None
