"""Admits calls: kill switch, breakers, prices, then admission, which decides rates and budgets."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from opentelemetry.metrics import Meter

from chassis.errors import Internal, ServiceError
from gateway import asks, denials
from gateway.approvals.gate import Gate
from gateway.asks import Ask
from gateway.decisions import Admitted, Decision, DecisionOrError, Denied, Finished
from gateway.domain.calls import Call, Candidate, Route
from gateway.domain.fitness import blocking, survey
from gateway.domain.stops import stop_of, values_of, without_stopped
from gateway.domain.toggles import AI_GENERATION, is_off
from gateway.domain.variants import arrange
from gateway.fallbacks import FAILED, Fallbacks
from gateway.health_watch import HealthCopy
from gateway.peer_errors import read_call_error
from gateway.peers import Admission
from gateway.permits import Signer
from gateway.prices import Prices
from gateway.probes import Probes
from gateway.routes import Routes
from headgate.api.admission.v1 import admission_pb2
from headgate.api.common.v1 import denial_pb2, limit_pb2
from headgate.api.gateway.v1 import permit_pb2

_MICROS_PER_SECOND: Final = 1_000_000
_NANOS_PER_MICRO: Final = 1_000


class Calls:
    """Decides whether calls may start."""

    def __init__(
        self,
        *,
        routes: Routes,
        prices: Prices,
        copy: HealthCopy,
        admission: Admission,
        probes: Probes,
        gate: Gate,
        signer: Signer,
        meter: Meter,
    ) -> None:
        self._routes = routes
        self._prices = prices
        self._copy = copy
        self._admission = admission
        self._probes = probes
        self._gate = gate
        self._signer = signer
        self._fallbacks = Fallbacks(routes)
        self._denied = meter.create_counter(
            "headgate.gateway.denials",
            unit="{call}",
            description="Calls that were denied before admission was asked, by reason.",
        )

    async def admit(self, call: Call, *, deadline: float | None) -> Decision:
        """Decides on one call. Raises ServiceError; then nothing was decided, or the caller can
        learn what was by asking again with the same id.
        """
        if self._routes.may_be_old():
            await self._routes.look_again()
        route = self._routes.find(call.operation)
        try:
            ask = await self._prepare(call, route, deadline)
            if isinstance(ask, Denied):
                return ask
            result = await self._admission.reserve.submit(ask.request, deadline=deadline)
            return self._decide(ask, result)
        except ServiceError as error:
            told = self._fallbacks.attach(error, call, route)
            if told is error:
                raise
            raise told from error

    async def admit_all(
        self, calls: Sequence[Call | ServiceError], *, deadline: float | None
    ) -> list[DecisionOrError]:
        """Decides on many calls, in their order, each by itself; wrong members stay errors."""
        if self._routes.may_be_old():
            await self._routes.look_again()
        prepared = [await self._prepare_or_fail(call, deadline) for call in calls]
        requests = [each.request for each in prepared if isinstance(each, Ask)]
        results = iter(
            await self._admission.reserve.submit_all(requests, deadline=deadline)
            if requests
            else ()
        )
        return [
            self._decide_or_fail(each, next(results)) if isinstance(each, Ask) else each
            for each in prepared
        ]

    async def _prepare_or_fail(
        self, call: Call | ServiceError, deadline: float | None
    ) -> Ask | Denied | ServiceError:
        if isinstance(call, ServiceError):
            return call
        try:
            route = self._routes.find(call.operation)
        except ServiceError as error:
            return error
        try:
            return await self._prepare(call, route, deadline)
        except ServiceError as error:
            return self._fallbacks.attach(error, call, route)

    async def _prepare(self, call: Call, route: Route, deadline: float | None) -> Ask | Denied:
        org = self._routes.find_org(call.org)
        if org is not None and org.suspended:
            return self._finish(Denied(denial=denials.fenced(org.suspension)), call, route)
        stops = self._copy.current_stops()
        if stops:
            stop = stop_of(stops, values_of(call), time.time())
            if stop is not None:
                # Replays are stopped too, so nobody looks whether this is one.
                denied = Denied(denial=denials.fenced(stop.message))
                return self._finish(denied, call, route)
        toggle = self._copy.toggles.get(AI_GENERATION)
        prepared: Ask | Denied
        if is_off(toggle, org=call.org, operation=call.operation):
            prepared = Denied(denial=denials.toggle_off(route, AI_GENERATION))
        else:
            prepared = await self._choose(call, route, deadline)
        if isinstance(prepared, Ask):
            return prepared
        return await self._find_replay(call, route, deadline) or self._finish(
            prepared, call, route
        )

    def _finish(self, denied: Denied, call: Call, route: Route) -> Denied:
        self._fallbacks.complete(denied.denial, call, route)
        reason = denial_pb2.DenialReason.Name(denied.denial.reason)
        self._denied.add(1, {"reason": reason.removeprefix("DENIAL_REASON_").lower()})
        return denied

    async def _choose(self, call: Call, route: Route, deadline: float | None) -> Ask | Denied:
        book = self._prices.current()
        candidates: Sequence[Candidate] = arrange(route, call)
        if call.excluded_candidates:
            candidates = [each for each in candidates if each not in call.excluded_candidates]
        if not candidates:
            return Denied(denial=denials.excluded(route))
        stops = self._copy.current_stops()
        if stops:
            candidates, stop = without_stopped(stops, candidates, values_of(call), time.time())
            if stop is not None and not candidates:
                return Denied(denial=denials.fenced(stop.message))
        breakers, now = self._copy.breakers, time.time()
        for each in candidates:
            self._copy.in_use.note(each.provider, call.credential, now)
        found = survey(
            candidates,
            breakers.unfit,
            credential=call.credential,
            call_id=call.call_id,
            now=now,
        )
        fit, probe = found.fit, None
        if found.probes:
            probe = await self._probes.acquire(call, route, found.probes, deadline=deadline)
        if probe is not None:
            fit = (probe.candidate, *fit)
        if not fit:
            unfit = {
                key: breakers.unfit[key]
                for each in candidates
                for key in blocking(each, breakers.unfit, credential=call.credential, now=now)
            }
            return Denied(denial=denials.breaker_open(route, unfit, found.retry_delay, now=now))
        ask = asks.build(call, route, fit, book=book, breakers=breakers, probe=probe)
        if not ask.request.candidates:
            self._probes.give_back(probe)
            unbounded = asks.find_unbounded(call, fit, book)
            return Denied(denial=denials.unpriced(route, fit, unbounded))
        return await self._pass_gate(ask)

    async def _pass_gate(self, ask: Ask) -> Ask | Denied:
        try:
            denied = await self._gate.check(ask)
        except ServiceError:
            self._probes.give_back(ask.probe)
            raise
        if denied is not None:
            self._probes.give_back(ask.probe)
        return denied or ask

    async def _find_replay(self, call: Call, route: Route, deadline: float | None) -> Ask | None:
        """Returns what to ask if the call is known: a breaker that opened, or a price that ended,
        takes back nothing that was admitted.
        """
        key = admission_pb2.CallKey(org=call.org, call_id=call.call_id)
        try:
            found = await self._admission.look_up.submit(key, deadline=deadline)
        except ServiceError:
            # The denial holds for a new call, and a denial is not sticky.
            return None
        if not found.HasField("hold"):
            return None
        ask = asks.repeat(call, route, found.hold)
        ask.approved = await self._gate.was_given(call)
        return ask

    def _decide_or_fail(
        self, ask: Ask, result: admission_pb2.ReservationResult | ServiceError
    ) -> DecisionOrError:
        try:
            if isinstance(result, ServiceError):
                raise result
            return self._decide(ask, result)
        except ServiceError as error:
            return self._fallbacks.attach(error, ask.call, ask.route)

    def _decide(self, ask: Ask, result: admission_pb2.ReservationResult) -> Decision:
        kind = result.WhichOneof("result")
        if kind == "hold":
            return self._admit(ask, result.hold)
        self._probes.give_back(ask.probe)
        if kind == "denial":
            self._fallbacks.complete(result.denial, ask.call, ask.route)
            return Denied(denial=result.denial)
        if kind == "ended":
            return Finished(call_id=ask.call.call_id, ended=result.ended)
        if kind == "error":
            raise read_call_error(result.error)
        raise Internal

    def _admit(self, ask: Ask, hold: admission_pb2.Hold) -> Admitted:
        call = ask.call
        permit = permit_pb2.Permit(
            org=call.org,
            call_id=call.call_id,
            parent_call_id=call.parent_call_id,
            operation=call.operation,
            admit_time_micros=_micros(hold.admit_time.seconds, hold.admit_time.nanos),
            expire_time_micros=_micros(hold.expire_time.seconds, hold.expire_time.nanos),
            price_version=hold.price_version,
            breaker_epoch=hold.breaker_epoch,
            held_nanos=hold.held_nanos,
            held_token_count=hold.held_token_count,
            api_key_id=call.api_key_id,
            credential=call.credential,
            priority=limit_pb2.Priority.ValueType(call.priority),
            approved=ask.approved,
        )
        for name, value in call.dimensions.items():
            setattr(permit, name, value)
        # Messages and maps given to the constructor are copied twice.
        permit.candidate.CopyFrom(hold.candidate)
        baseline = ask.route.baseline
        if baseline is not None:
            permit.baseline_model.provider = baseline.provider
            permit.baseline_model.model = baseline.model
        if call.labels:
            permit.labels.update(call.labels)
        if ask.probe is not None and hold.candidate.provider != ask.probe.candidate.provider:
            self._probes.give_back(ask.probe)
        return Admitted(
            call=call,
            hold=hold,
            max_output_token_count=ask.max_output_token_count,
            permit=self._signer.sign(permit),
            fallback=self._fallbacks.find(call, ask.route, reason=FAILED),
        )


def _micros(seconds: int, nanos: int) -> int:
    return seconds * _MICROS_PER_SECOND + nanos // _NANOS_PER_MICRO
