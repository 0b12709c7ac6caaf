"""Backends that speak to the gateways by bare stubs, and remember what they were promised."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, Self

import asyncpg
import grpc
from google.protobuf.duration_pb2 import Duration

from headgate.api.common.v1 import call_pb2, limit_pb2, price_pb2
from headgate.api.gateway.v1 import admin_pb2, admin_pb2_grpc, gateway_pb2_grpc
from headgate.api.gateway.v1 import gateway_pb2 as pb
from headgate.channel import authorization, open_channel
from headgate.ids import IdMaker
from services.admission.queries import QUERIES
from tests.e2e.system import System

OPERATION: Final = "guarded"
PROVIDER, MODEL = "test-provider", "test-model"
# A token costs one nano-dollar in both directions, so holds are easy to tell.
NANOS_PER_MILLION: Final = 1_000_000
INPUT_TOKENS: Final = 300
OUTPUT_TOKENS: Final = 700
HELD_NANOS: Final = INPUT_TOKENS + OUTPUT_TOKENS
# What calls really use: less than they hold.
USED_NANOS: Final = INPUT_TOKENS + 10
# Short, so that what crashed callers and servers left behind expires within the test.
HOLD_SECONDS: Final = 4
DEADLINE_SECONDS: Final = 20.0
RETRIED: Final = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}


@dataclass(slots=True)
class Promises:
    """What the gateways acknowledged, by call id."""

    admitted: dict[str, pb.Admission] = field(default_factory=dict)
    denied: dict[str, pb.CallDecision] = field(default_factory=dict)
    booked: dict[str, pb.CallReceipt] = field(default_factory=dict)


class Callers:
    """Many callers of one org, over all gateways; each asks again until it has an answer."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.org = f"org-{uuid.uuid4().hex[:12]}"
        self.promises = Promises()
        # Notified with each booking.
        self.progress = asyncio.Condition()
        self._ids = IdMaker()
        self._stack = contextlib.AsyncExitStack()
        self._admin_metadata = authorization(system.endpoints["admin_key"])

    async def __aenter__(self) -> Self:
        channels = [
            await self._stack.enter_async_context(open_channel(address))
            for address in self.system.endpoints["gateways"]
        ]
        stubs = [gateway_pb2_grpc.GatewayServiceStub(each) for each in channels]
        self._stubs = itertools.cycle(stubs)
        self.admin = admin_pb2_grpc.AdminServiceStub(channels[0])
        created = await self.admin.CreateApiKey(
            admin_pb2.CreateApiKeyRequest(
                name=self.org, role=admin_pb2.ROLE_BACKEND, orgs=[self.org]
            ),
            metadata=self._admin_metadata,
        )
        self.api_key = created.secret
        self._metadata = authorization(created.secret)
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._stack.aclose()

    async def cap(self, cap_nanos: int) -> None:
        """Caps the org's day."""
        await self.admin.PutLimit(
            admin_pb2.PutLimitRequest(
                limit=limit_pb2.Limit(
                    limit_id=f"{self.org}-day",
                    scope={"org": self.org},
                    metric=limit_pb2.METRIC_COST,
                    calendar=limit_pb2.CalendarWindow(period=limit_pb2.CALENDAR_PERIOD_DAY),
                    cap=cap_nanos,
                )
            ),
            metadata=self._admin_metadata,
        )

    async def admit(self) -> pb.CallDecision:
        """Asks for one call with equal holds, with one id until there is an answer."""
        request = pb.AdmitCallRequest(
            call_id=self._ids.make(),
            org=self.org,
            operation=OPERATION,
            input_token_count=INPUT_TOKENS,
            max_output_token_count=OUTPUT_TOKENS,
        )
        answer = await self._insist("AdmitCall", request)
        decision: pb.CallDecision = answer.decision
        if decision.HasField("admission"):
            self.promises.admitted[request.call_id] = decision.admission
        elif decision.HasField("denial"):
            self.promises.denied[request.call_id] = decision
        return decision

    async def complete(self, admission: pb.Admission) -> None:
        """Reports what the call used, until it is booked."""
        request = pb.CompleteCallRequest(
            permit=admission.permit,
            outcome=call_pb2.CALL_OUTCOME_SUCCEEDED,
            meters=call_pb2.UsageMeters(input_token_count=INPUT_TOKENS, output_token_count=10),
            latency=Duration(nanos=1_000_000),
        )
        answer = await self._insist("CompleteCall", request)
        self.promises.booked[admission.call_id] = answer.receipt
        async with self.progress:
            self.progress.notify_all()

    async def _insist(self, method: str, request: object) -> Any:
        async with asyncio.timeout(60):
            while True:
                call = getattr(next(self._stubs), method)
                try:
                    return await call(
                        request,
                        metadata=self._metadata,
                        timeout=DEADLINE_SECONDS,
                        wait_for_ready=True,
                    )
                except grpc.aio.AioRpcError as error:
                    if error.code() not in RETRIED:
                        raise


@contextlib.asynccontextmanager
async def books(system: System) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """The superuser's view of all schemas, from outside of every service."""
    connection = await asyncpg.connect(
        system.endpoints["database_url"], server_settings={"search_path": "admission"}
    )
    try:
        yield connection
    finally:
        await connection.close()


async def find_differences(
    connection: asyncpg.Connection[asyncpg.Record],
) -> list[asyncpg.Record]:
    """Counters that differ from their reservations or exceed their caps, in one snapshot."""
    return list(await connection.fetch(QUERIES.audit_counters.sql))


class Reachable(Protocol):
    """A running system, as `local up` describes it."""

    endpoints: dict[str, Any]


async def prepare(system: Reachable) -> None:
    """A price and a route, known to every gateway, and platform caps out of the way."""
    async with open_channel(system.endpoints["gateways"][0]) as channel:
        stub = admin_pb2_grpc.AdminServiceStub(channel)
        metadata = authorization(system.endpoints["admin_key"])
        price = price_pb2.ModelPrice(
            provider=PROVIDER,
            model=MODEL,
            meters=[
                price_pb2.MeterPrice(meter=meter, nanos_per_million=NANOS_PER_MILLION)
                for meter in (price_pb2.METER_INPUT, price_pb2.METER_OUTPUT)
            ],
        )
        await stub.PutPrice(admin_pb2.PutPriceRequest(price=price), metadata=metadata)
        route = admin_pb2.Route(
            operation=OPERATION,
            candidates=[call_pb2.Candidate(provider=PROVIDER, model=MODEL)],
            default_max_output_token_count=OUTPUT_TOKENS,
            fallback_text="Not now.",
            hold_seconds=HOLD_SECONDS,
        )
        await stub.PutRoute(admin_pb2.PutRouteRequest(route=route), metadata=metadata)
        listed = await stub.ListLimits(admin_pb2.ListLimitsRequest(), metadata=metadata)
        for limit in listed.limits:
            if limit.metric == limit_pb2.METRIC_CALLS:
                limit.cap = 10**9
                await stub.PutLimit(admin_pb2.PutLimitRequest(limit=limit), metadata=metadata)
    for gateway in system.endpoints["gateways"]:
        await _wait_until_routed(gateway, system)


async def _wait_until_routed(gateway: str, system: Reachable) -> None:
    org = "demo-acme"
    async with open_channel(gateway) as channel, asyncio.timeout(15):
        stub = gateway_pb2_grpc.GatewayServiceStub(channel)
        metadata = authorization(system.endpoints["api_keys"][org])
        while True:
            request = pb.AdmitCallRequest(
                call_id=str(uuid.uuid4()), org=org, operation=OPERATION, input_token_count=1
            )
            try:
                answer = await stub.AdmitCall(request, metadata=metadata, timeout=5)
            except grpc.aio.AioRpcError as error:
                # Routes are pulled every few seconds; until then there is no such operation.
                if error.code() is not grpc.StatusCode.NOT_FOUND:
                    raise
            else:
                if answer.decision.HasField("admission"):
                    return
            await asyncio.sleep(0.1)
