"""What calls would hold and whether they would be admitted: asked for without holding anything."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc

from chassis.errors import NotFound, translate
from gateway import asks
from gateway.asks import Ask
from gateway.domain.calls import Call
from gateway.domain.variants import arrange
from gateway.health_watch import HealthCopy
from gateway.peer_errors import read_call_error
from gateway.peers import ADMISSION, Admission, call
from gateway.prices import Prices
from gateway.routes import Routes
from headgate.api.admission.v1 import admission_pb2
from headgate.api.common.v1 import explanation_pb2
from headgate.api.gateway.v1 import gateway_pb2


class Outlooks:
    """Looks at calls as if they were to start now."""

    def __init__(
        self, *, routes: Routes, prices: Prices, copy: HealthCopy, admission: Admission
    ) -> None:
        self._routes = routes
        self._prices = prices
        self._copy = copy
        self._admission = admission

    async def estimate(self, wanted: Call) -> gateway_pb2.EstimateCostResponse:
        """Returns what the call would hold on each candidate. Raises ServiceError."""
        ask = self.ask(wanted)
        (explanation,) = (await self._explain(ask)).explanations
        return gateway_pb2.EstimateCostResponse(
            candidates=[
                _render(hold, found)
                for hold, found in zip(ask.request.candidates, explanation.candidates, strict=True)
            ],
            max_output_token_count=ask.max_output_token_count,
            price_version=ask.request.price_version,
        )

    async def explain(self, wanted: Call) -> admission_pb2.ExplainLimitsResponse:
        """Returns which limits would apply to the call, and why. Raises ServiceError."""
        return await self._explain(self.ask(wanted))

    async def _explain(self, ask: Ask) -> admission_pb2.ExplainLimitsResponse:
        request = admission_pb2.ExplainLimitsRequest(reservations=[ask.request])
        answer = await call(ADMISSION, self._admission.stub.ExplainLimits, request)
        for explanation in answer.explanations:
            if explanation.HasField("error"):
                raise read_call_error(explanation.error)
        return answer

    async def watch(self, wanted: Call) -> AsyncIterator[gateway_pb2.WatchLimitsResponse]:
        """Yields the limits that apply to the call whenever their state changes."""
        ask = self.ask(wanted)
        request = admission_pb2.WatchLimitsRequest(reservation=ask.request)
        try:
            async for state in self._admission.stub.WatchLimits(request, wait_for_ready=True):
                yield _render_state(state)
        except grpc.aio.AioRpcError as error:
            raise translate(error, peer=ADMISSION) from error

    def ask(self, wanted: Call) -> Ask:
        """Returns what would be asked of admission. Raises NotFound."""
        route = self._routes.find(wanted.operation)
        candidates = [
            each for each in arrange(route, wanted) if each not in wanted.excluded_candidates
        ]
        ask = asks.build(
            wanted,
            route,
            candidates,
            book=self._prices.current(),
            breakers=self._copy.breakers,
            probe=None,
        )
        if not ask.request.candidates:
            raise NotFound("price", wanted.operation)
        return ask


def _render(
    hold: admission_pb2.CandidateHold, found: explanation_pb2.CandidateExplanation
) -> gateway_pb2.CandidateEstimate:
    return gateway_pb2.CandidateEstimate(
        candidate=hold.candidate,
        worst_case_nanos=hold.cost_nanos,
        held_nanos=found.held_nanos,
        held_token_count=found.held_token_count,
        fits=found.fits,
        violations=found.violations,
    )


def _render_state(state: admission_pb2.WatchLimitsResponse) -> gateway_pb2.WatchLimitsResponse:
    response = gateway_pb2.WatchLimitsResponse(
        counters=state.counters,
        open=state.open,
        retry_kind=state.retry_kind,
        limits_version=state.limits_version,
    )
    if state.HasField("retry_delay"):
        response.retry_delay.CopyFrom(state.retry_delay)
    return response
