"""The orgs of a run, and an operator who changes their caps all the while."""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from dataclasses import dataclass, field
from typing import Final

import grpc
from google.protobuf.duration_pb2 import Duration

from headgate.api.common.v1 import limit_pb2
from headgate.api.gateway.v1 import admin_pb2, admin_pb2_grpc
from headgate.channel import authorization
from tests.guarantees.callers import RETRIED
from tests.guarantees.nemesis.books import METRIC_CALLS, METRIC_COST
from tests.guarantees.nemesis.rates import Bucket, Concurrency, Rate, Rolling

PAUSE_SECONDS: Final = 0.7
PUT_SECONDS: Final = 5.0
PUT_PATIENCE_SECONDS: Final = 120.0
# How much each cap grows at most each time: less than the clients want.
FIRST_CAPS: Final = {METRIC_COST: 1_500, METRIC_CALLS: 2}
STEPS: Final = {METRIC_COST: 3_000, METRIC_CALLS: 5}
# Now and then a cap falls below what is used.
LOWERED_SHARE: Final = 0.2


def _org(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex[:8]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """The orgs of one run, and what caps them."""

    costly: str = field(default_factory=lambda: _org("costly"))
    busy: str = field(default_factory=lambda: _org("busy"))
    free: str = field(default_factory=lambda: _org("free"))
    steady: str = field(default_factory=lambda: _org("steady"))
    bursty: str = field(default_factory=lambda: _org("bursty"))
    narrow: str = field(default_factory=lambda: _org("narrow"))

    @property
    def orgs(self) -> list[str]:
        """All of them."""
        return [self.costly, self.busy, self.free, self.steady, self.bursty, self.narrow]

    @property
    def rates(self) -> tuple[Rolling, Bucket, Concurrency]:
        """What bounds the orgs whose limits stay as they are."""
        return (
            Rolling(org=self.steady, cap=6, seconds=4),
            Bucket(org=self.bursty, burst=1_500, rate=900),
            Concurrency(org=self.narrow, cap=2),
        )

    @property
    def limits(self) -> dict[tuple[str, int], str]:
        """(org, metric) -> id of the limit whose cap moves."""
        return {
            (self.costly, METRIC_COST): f"{self.costly}-cost",
            (self.busy, METRIC_CALLS): f"{self.busy}-calls",
        }


class Operator:
    """Acts by the admin's API, past the clients' proxies."""

    def __init__(
        self, stub: admin_pb2_grpc.AdminServiceAsyncStub, admin_key: str, cast: Cast
    ) -> None:
        self._stub = stub
        self._metadata = authorization(admin_key)
        self._cast = cast
        # So little that something is denied before the first fault.
        self._caps = {key: FIRST_CAPS[key[1]] for key in cast.limits}

    async def prepare(self) -> str:
        """Sets the first caps; returns an API key for all orgs of the cast."""
        for (org, metric), cap in self._caps.items():
            await self._put(org, metric, cap)
        for rate in self._cast.rates:
            await self._put_limit(_rate_limit(rate))
        request = admin_pb2.CreateApiKeyRequest(
            name=self._cast.free, role=admin_pb2.ROLE_BACKEND, orgs=self._cast.orgs
        )
        created = await self._stub.CreateApiKey(request, metadata=self._metadata)
        return created.secret

    async def move_caps(self, stop: asyncio.Event, chance: random.Random) -> None:
        """Lets caps grow and, now and then, fall, until it shall stop."""
        while not stop.is_set():
            for org, metric in self._caps:
                self._caps[org, metric] += chance.randint(0, STEPS[metric])
                cap = self._caps[org, metric]
                await self._put(org, metric, cap // 2 if chance.random() < LOWERED_SHARE else cap)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PAUSE_SECONDS):
                    await stop.wait()

    async def _put(self, org: str, metric: int, cap: int) -> None:
        is_calls = metric == METRIC_CALLS
        await self._put_limit(
            limit_pb2.Limit(
                limit_id=self._cast.limits[org, metric],
                scope={"org": org},
                metric=limit_pb2.METRIC_CALLS if is_calls else limit_pb2.METRIC_COST,
                calendar=limit_pb2.CalendarWindow(period=limit_pb2.CALENDAR_PERIOD_DAY),
                cap=cap,
            )
        )

    async def _put_limit(self, limit: limit_pb2.Limit) -> None:
        request = admin_pb2.PutLimitRequest(limit=limit)
        async with asyncio.timeout(PUT_PATIENCE_SECONDS):
            while True:
                try:
                    await self._stub.PutLimit(
                        request, metadata=self._metadata, timeout=PUT_SECONDS
                    )
                except grpc.aio.AioRpcError as error:
                    if error.code() not in RETRIED:
                        raise
                    await asyncio.sleep(0.1)
                else:
                    return


def _rate_limit(rate: Rate) -> limit_pb2.Limit:
    limit = limit_pb2.Limit(limit_id=f"{rate.org}-rate", scope={"org": rate.org})
    match rate:
        case Rolling():
            limit.metric, limit.cap = limit_pb2.METRIC_CALLS, rate.cap
            limit.rolling.duration.seconds, limit.rolling.slot_count = rate.seconds, 8
        case Bucket():
            limit.metric, limit.cap = limit_pb2.METRIC_COST, rate.burst
            limit.bucket.refill_amount = rate.rate
            limit.bucket.refill_duration.CopyFrom(Duration(seconds=1))
        case Concurrency():
            limit.metric, limit.cap = limit_pb2.METRIC_CONCURRENCY, rate.cap
    return limit
