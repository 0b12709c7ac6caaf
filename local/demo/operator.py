"""The demo's hand on the admin API: it repeats what a restarting service did not answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, date, datetime
from typing import Any, Final, TypeVar

import grpc
import grpc.aio

from headgate.api.common.v1 import health_pb2, limit_pb2, price_pb2, usage_pb2
from headgate.api.gateway.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    gateway_pb2,
    gateway_pb2_grpc,
)
from headgate.channel import authorization
from local.demo.books import Amounts, Books, Window
from local.errors import LocalError

# A killed service is back well within this.
RETRY_SECONDS_MAX: Final = 60.0
RETRY_DELAY_SECONDS: Final = 0.5
PASSING_CODES: Final = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
PAGE_SIZE: Final = 1000
ANSWER_SECONDS_MAX: Final = 5.0

R = TypeVar("R")


class Operator:
    """Calls AdminService with an admin key. Every method may be repeated."""

    def __init__(self, channel: grpc.aio.Channel, *, admin_key: str) -> None:
        self._stub = admin_pb2_grpc.AdminServiceStub(channel)
        self._gateway = gateway_pb2_grpc.GatewayServiceStub(channel)
        self._metadata = authorization(admin_key)

    async def check_answer(self) -> None:
        """Raises `LocalError` unless a gateway answers soon."""
        try:
            await self._gateway.GetStatus(
                gateway_pb2.GetStatusRequest(),
                timeout=ANSWER_SECONDS_MAX,
                metadata=self._metadata,
                wait_for_ready=True,
            )
        except grpc.aio.AioRpcError as error:
            raise LocalError(
                f"no gateway answers ({error.code().name}); is `make up` still running?"
            ) from error

    async def get_status(self) -> gateway_pb2.GetStatusResponse:
        """Returns whether calls pass and how fit the providers are."""
        answer: gateway_pb2.GetStatusResponse = await self._call(
            self._gateway.GetStatus, gateway_pb2.GetStatusRequest()
        )
        return answer

    async def put_price(self, price: price_pb2.ModelPrice) -> None:
        """Makes a price hold for the platform; writes nothing if it does already."""
        request = admin_pb2.ListPricesRequest(provider=price.provider, page_size=PAGE_SIZE)
        known: admin_pb2.ListPricesResponse = await self._call(self._stub.ListPrices, request)
        meters = {meter.meter: meter.nanos_per_million for meter in price.meters}
        for each in known.prices:
            same_model = (each.provider, each.model, each.org) == (price.provider, price.model, "")
            found = {meter.meter: meter.nanos_per_million for meter in each.meters}
            if same_model and found == meters:
                return
        await self._call(self._stub.PutPrice, admin_pb2.PutPriceRequest(price=price))

    async def put_route(self, route: admin_pb2.Route) -> None:
        """Makes a route hold; the gateway writes nothing if it does already."""
        await self._call(self._stub.PutRoute, admin_pb2.PutRouteRequest(route=route))

    async def put_limit(self, limit: limit_pb2.Limit) -> None:
        """Writes a limit. Raises `LocalError` if another one has its place."""
        try:
            await self._call(self._stub.PutLimit, admin_pb2.PutLimitRequest(limit=limit))
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.ALREADY_EXISTS:
                raise
            raise LocalError(f"{error.details()}; delete that limit, then try again") from error

    async def delete_limit(self, limit_id: str) -> None:
        """Deletes a limit; one that does not exist is no error."""
        try:
            request = admin_pb2.DeleteLimitRequest(limit_id=limit_id)
            await self._call(self._stub.DeleteLimit, request)
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise

    async def kill(self, reason: str) -> health_pb2.KillSwitch:
        """Stops all calls; when this returns none is admitted any more."""
        prepared: admin_pb2.PrepareKillResponse = await self._call(
            self._stub.PrepareKill, admin_pb2.PrepareKillRequest(reason=reason, message=reason)
        )
        answer: admin_pb2.KillResponse = await self._call(
            self._stub.Kill,
            admin_pb2.KillRequest(
                reason=reason, message=reason, confirmation_token=prepared.confirmation_token
            ),
        )
        return answer.kill

    async def resume(self, reason: str) -> None:
        """Lets calls pass again; without a kill switch in force it does nothing."""
        try:
            await self._call(self._stub.Resume, admin_pb2.ResumeRequest(reason=reason))
        except grpc.aio.AioRpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise

    async def read_books(self, *, start: date) -> Books:
        """Reads usage log, rollups and cost counters from a day on. Not one snapshot of all."""
        counters = await self._list_counters()
        return Books(
            log=await self._read_usage(start, usage_pb2.USAGE_SOURCE_LOG),
            rollups=await self._read_usage(start, usage_pb2.USAGE_SOURCE_ROLLUP),
            counters={
                window: Amounts(settled=each.settled, held=each.held)
                for each in counters
                if (window := _window(each)) is not None and window.end > start
            },
        )

    async def _read_usage(
        self, start: date, source: usage_pb2.UsageSource.ValueType
    ) -> dict[tuple[date, str], int]:
        request = admin_pb2.GetUsageRequest(
            start_day=start.isoformat(),
            end_day=datetime.now(UTC).date().isoformat(),
            group_by=[usage_pb2.USAGE_DIMENSION_DAY, usage_pb2.USAGE_DIMENSION_ORG],
            source=source,
        )
        answer: admin_pb2.GetUsageResponse = await self._call(self._stub.GetUsage, request)
        return {(date.fromisoformat(row.day), row.org): row.cost_nanos for row in answer.rows}

    async def _list_counters(self) -> Iterable[limit_pb2.CounterState]:
        counters: list[limit_pb2.CounterState] = []
        request = admin_pb2.ListCountersRequest(page_size=PAGE_SIZE)
        while True:
            page: admin_pb2.ListCountersResponse = await self._call(
                self._stub.ListCounters, request
            )
            counters.extend(page.counters)
            if not page.next_page_token:
                return counters
            request.page_token = page.next_page_token

    async def _call(self, method: Callable[..., Awaitable[R]], request: Any) -> R:
        return await persistently(lambda: method(request, timeout=10, metadata=self._metadata))


async def persistently(attempt: Callable[[], Awaitable[R]]) -> R:
    """Returns the attempt's answer; repeats it while services restart, for a bounded time."""
    give_up = time.monotonic() + RETRY_SECONDS_MAX
    while True:
        try:
            return await attempt()
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNAUTHENTICATED:
                raise LocalError(
                    "a key of the state folder is not accepted; start again with `make up`"
                ) from error
            if error.code() not in PASSING_CODES or time.monotonic() > give_up:
                raise
        await asyncio.sleep(RETRY_DELAY_SECONDS)


def _window(counter: limit_pb2.CounterState) -> Window | None:
    """Returns the counter's window, or None for one that the demo does not compare."""
    in_utc = counter.calendar.time_zone in ("", "UTC")
    if counter.metric != limit_pb2.METRIC_COST or not in_utc or set(counter.scope) - {"org"}:
        return None
    return Window(
        org=counter.scope.get("org", ""),
        start=counter.start_time.ToDatetime(UTC).date(),
        end=counter.end_time.ToDatetime(UTC).date(),
    )
