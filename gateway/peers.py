"""The three services behind the gateway, as the gateway calls them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar

import grpc

from chassis.errors import translate
from chassis.handlers import deadline
from gateway.batches import DEFAULT_SECONDS, MARGIN_SECONDS, BatchedMethod, Send, attempt_twice
from headgate.api.accounting.v1 import (
    accounting_pb2,
    accounting_pb2_grpc,
    alerts_pb2_grpc,
    books_pb2_grpc,
    channels_pb2_grpc,
    events_pb2,
    events_pb2_grpc,
    forecasts_pb2_grpc,
    policies_pb2_grpc,
)
from headgate.api.admission.v1 import admission_pb2, admission_pb2_grpc
from headgate.api.common.v1 import change_pb2_grpc
from headgate.api.health.v1 import health_pb2, health_pb2_grpc

ADMISSION: Final = "admission"
ACCOUNTING: Final = "accounting"
HEALTH: Final = "health"
# Batches under way at once. What gathers meanwhile leaves together: RPCs are the dear part.
FLIGHT_COUNT_MAX: Final = 1

Request = TypeVar("Request")
Response = TypeVar("Response")
Item = TypeVar("Item")
Result = TypeVar("Result")


class Admission:
    """Admission: the hot methods are batched, the rest is plain."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        pb = admission_pb2
        self.stub = admission_pb2_grpc.AdmissionServiceStub(channel)
        self.changes = change_pb2_grpc.ChangeServiceStub(channel)
        self.reserve: BatchedMethod[pb.ReservationRequest, pb.ReservationResult] = _batched(
            ADMISSION, self.stub.Reserve, lambda items: pb.ReserveRequest(reservations=items)
        )
        self.settle: BatchedMethod[pb.Settlement, pb.EndResult] = _batched(
            ADMISSION, self.stub.Settle, lambda items: pb.SettleRequest(settlements=items)
        )
        self.release: BatchedMethod[pb.CallKey, pb.EndResult] = _batched(
            ADMISSION, self.stub.Release, lambda items: pb.ReleaseRequest(calls=items)
        )
        self.extend: BatchedMethod[pb.Extension, pb.ExtensionResult] = _batched(
            ADMISSION, self.stub.Extend, lambda items: pb.ExtendRequest(extensions=items)
        )
        self.look_up: BatchedMethod[pb.CallKey, pb.ReservationLookup] = _batched(
            ADMISSION,
            self.stub.GetReservations,
            lambda items: pb.GetReservationsRequest(calls=items),
        )

    async def close(self) -> None:
        """Lets the batches under way end."""
        await _close(self.reserve, self.settle, self.release, self.extend, self.look_up)


class Accounting:
    """Accounting: reports are batched, the rest is plain."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        pb = accounting_pb2
        self.stub = accounting_pb2_grpc.AccountingServiceStub(channel)
        self.changes = change_pb2_grpc.ChangeServiceStub(channel)
        self.alerts = alerts_pb2_grpc.AlertServiceStub(channel)
        self.events = events_pb2_grpc.EventFeedServiceStub(channel)
        self.channels = channels_pb2_grpc.ChannelServiceStub(channel)
        self.books = books_pb2_grpc.BookServiceStub(channel)
        self.policies = policies_pb2_grpc.PolicyServiceStub(channel)
        self.forecasts = forecasts_pb2_grpc.ForecastServiceStub(channel)
        self.record: BatchedMethod[pb.UsageReport, pb.RecordResult] = _batched(
            ACCOUNTING, self.stub.Record, lambda items: pb.RecordRequest(reports=items)
        )

    async def list_event_feed(
        self, after: events_pb2.EventCursor | None, count: int
    ) -> events_pb2.ListEventFeedResponse:
        """Returns events after a position; None: only where the feed ends. Raises ServiceError."""
        request = events_pb2.ListEventFeedRequest(after=after, page_size=count)
        return await attempt_twice(
            lambda timeout, wait: self.events.ListEventFeed(
                request, timeout=timeout, wait_for_ready=wait
            ),
            peer=ACCOUNTING,
            deadline=asyncio.get_running_loop().time() + DEFAULT_SECONDS,
        )

    async def pull_price_book(self, known_version: int) -> accounting_pb2.GetPriceBookResponse:
        """Returns the price book if it is newer than the known version. Raises ServiceError."""
        request = accounting_pb2.GetPriceBookRequest(known_version=known_version)
        return await call(ACCOUNTING, self.stub.GetPriceBook, request)

    async def close(self) -> None:
        """Lets the batches under way end."""
        await _close(self.record)


class Health:
    """Health: probes are batched, outcomes go as they gathered, the state comes as a stream."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        pb = health_pb2
        self.stub = health_pb2_grpc.HealthServiceStub(channel)
        self.changes = change_pb2_grpc.ChangeServiceStub(channel)
        self.acquire_probe: BatchedMethod[pb.ProbeRequest, pb.ProbeResult] = _batched(
            HEALTH, self.stub.AcquireProbes, lambda items: pb.AcquireProbesRequest(probes=items)
        )

    async def observe(self, observations: Sequence[health_pb2.Observation]) -> None:
        """Reports outcomes, once: a repeat would count them twice. Raises AioRpcError."""
        request = health_pb2.ObserveRequest(observations=observations)
        await self.stub.Observe(request, timeout=DEFAULT_SECONDS)

    def watch(self) -> AsyncIterator[health_pb2.WatchResponse]:
        """Opens a stream of the state."""
        # grpc.aio's stream is an iterator and a call in one; its stub says only the latter.
        stream: Any = self.stub.Watch(health_pb2.WatchRequest())
        messages: AsyncIterator[health_pb2.WatchResponse] = stream
        return messages

    async def close(self) -> None:
        """Lets the batches under way end."""
        await _close(self.acquire_probe)


async def call(peer: str, method: Callable[..., Awaitable[Response]], request: object) -> Response:
    """Calls a method that is safe to repeat, in the current RPC's time. Raises ServiceError."""
    return await attempt_twice(
        lambda timeout, wait: method(request, timeout=timeout, wait_for_ready=wait),
        peer=peer,
        deadline=_last_moment(),
    )


async def call_once(
    peer: str, method: Callable[..., Awaitable[Response]], request: object
) -> Response:
    """Calls a method whose repetition would get another answer, such as "no such limit"; waits for
    a connection first. Raises ServiceError.
    """
    timeout = max(_last_moment() - asyncio.get_running_loop().time(), 0.0)
    try:
        return await method(request, timeout=timeout, wait_for_ready=True)
    except grpc.aio.AioRpcError as error:
        raise translate(error, peer=peer) from error


def _last_moment() -> float:
    at = deadline()
    if at is None:
        at = asyncio.get_running_loop().time() + DEFAULT_SECONDS
    return at - MARGIN_SECONDS


def _batched(
    peer: str,
    method: Callable[..., Awaitable[Any]],
    build: Callable[[Sequence[Item]], object],
) -> BatchedMethod[Item, Result]:
    async def send(items: Sequence[Item], timeout: float, wait: bool) -> Sequence[Result]:
        response = await method(build(items), timeout=timeout, wait_for_ready=wait)
        results: Sequence[Result] = response.results
        return results

    sender: Send[Item, Result] = send
    return BatchedMethod(peer=peer, send=sender, flight_count_max=FLIGHT_COUNT_MAX)


async def _close(*methods: BatchedMethod[Any, Any]) -> None:
    for method in methods:
        await method.close()
