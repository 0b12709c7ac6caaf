"""A gateway over peers that answer as they are told, for failures that real ones seldom have."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from opentelemetry.metrics import Meter, NoOpMeterProvider

from chassis.errors import ServiceError
from gateway.approvals.gate import Gate
from gateway.calls import Calls
from gateway.completions import Completions
from gateway.domain.books import PriceBook
from gateway.domain.estimates import Rate, ceiling
from gateway.health_watch import HealthCopy
from gateway.observations import Observations
from gateway.permits import Signer
from gateway.probes import Probes
from headgate.api.accounting.v1 import accounting_pb2
from headgate.api.admission.v1 import admission_pb2
from headgate.api.common.v1 import call_pb2
from headgate.api.health.v1 import health_pb2
from tests.unit.gateway.calls import ROUTE

METER = NoOpMeterProvider().get_meter("tests")
SIGNER = Signer({"k": b"k" * 32})
CHEAP = ceiling(input_rates=[Rate(nanos_per_million=1_000_000)], output_rates=[])


class Method:
    """One method of a peer: answers each member by a function, or fails."""

    def __init__(self, answer: Callable[[Any], Any] | Exception) -> None:
        self._answer = answer
        self.asked: list[Any] = []

    async def submit(self, item: Any, *, deadline: float | None) -> Any:
        (answer,) = await self.submit_all([item], deadline=deadline)
        if isinstance(answer, ServiceError):
            raise answer
        return answer

    async def submit_all(self, items: Sequence[Any], *, deadline: float | None) -> list[Any]:
        self.asked.extend(items)
        if isinstance(self._answer, Exception):
            raise self._answer
        return [self._answer(item) for item in items]


def hold_first(request: admission_pb2.ReservationRequest) -> admission_pb2.ReservationResult:
    first = request.candidates[0]
    hold = admission_pb2.Hold(
        candidate=first.candidate, held_nanos=first.cost_nanos, breaker_epoch=first.breaker_epoch
    )
    return admission_pb2.ReservationResult(hold=hold)


class Gateway:
    """Calls and completions over peers that can be told what to answer."""

    def __init__(self, meter: Meter = METER) -> None:
        self.reserve = Method(hold_first)
        not_found = call_pb2.CallError(code=5, reason="CALL_NOT_FOUND")
        self.look_up = Method(lambda key: admission_pb2.ReservationLookup(error=not_found))
        self.settle = Method(lambda each: admission_pb2.EndResult())
        self.release = Method(lambda key: admission_pb2.EndResult())
        self.record = Method(
            lambda usage: accounting_pb2.RecordResult(
                booking=accounting_pb2.Booking(total_nanos=7, revision=1, first=True)
            )
        )
        self.acquire_probe = Method(
            lambda request: health_pb2.ProbeResult(granted=True, breaker_epoch=4)
        )
        self.copy = HealthCopy()
        self.route = ROUTE
        # Whether somebody may have changed a route unseen, and who looked.
        self.old = False
        self.look_count = 0
        self.ceilings = {(each.provider, each.model): CHEAP for each in ROUTE.candidates}
        self.heard: list[health_pb2.Observation] = []
        self.observations = Observations(self._hear, METER)
        peers: Any = self
        self.calls = Calls(
            routes=peers,
            prices=peers,
            copy=self.copy,
            admission=peers,
            probes=Probes(peers, self.observations),
            gate=Gate(peers, self.copy),
            signer=SIGNER,
            meter=meter,
        )
        self.completions = Completions(
            admission=peers, accounting=peers, observations=self.observations, meter=METER
        )

    def find(self, operation: str) -> object:
        return self.route

    def find_org(self, org: str) -> None:
        """Nobody has registered any."""

    def may_be_old(self) -> bool:
        return self.old

    async def look_again(self) -> None:
        self.look_count += 1

    def current(self) -> PriceBook:
        return PriceBook(version=9, platform=self.ceilings, overrides={})

    async def _hear(self, batch: Sequence[health_pb2.Observation]) -> None:
        self.heard.extend(batch)

    async def hear(self) -> list[health_pb2.Observation]:
        """Returns what health was told so far."""
        telling = asyncio.create_task(self.observations.run())
        await self.observations.drain()
        telling.cancel()
        return self.heard
