"""Probes: the few calls that may pass a breaker which is about to close."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from chassis import clock
from chassis.errors import ServiceError
from gateway.domain.calls import Call, Candidate, Route
from gateway.domain.fitness import PartKey
from gateway.observations import Observations
from gateway.peers import Health
from headgate.api.common.v1 import call_pb2
from headgate.api.health.v1 import health_pb2


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Leave to pass one breaker, leased to one call."""

    candidate: Candidate
    breaker_epoch: int
    org: str
    call_id: str
    credential: str


# What health has just refused is not asked for again so soon: while a breaker is half-open every
# call would ask, and all but a few would be refused.
REFUSED_SECONDS: Final = 0.2
# Beyond this many remembered refusals the old ones are dropped.
REFUSED_COUNT_MAX: Final = 1_024


class Probes:
    """Leases probes from health and gives back those that no call used."""

    def __init__(
        self,
        health: Health,
        observations: Observations,
        *,
        now: clock.Clock = clock.monotonic,
    ) -> None:
        self._health = health
        self._observations = observations
        self._now = now
        # Ways that were refused, with the time until which they are not asked for again.
        self._refused: dict[PartKey, float] = {}

    async def acquire(
        self, call: Call, route: Route, candidates: Sequence[Candidate], *, deadline: float | None
    ) -> Probe | None:
        """Asks for one candidate after the other until a probe is granted. None: all refused, or
        health does not answer.
        """
        for candidate in candidates:
            way = (candidate.provider, candidate.model, call.credential)
            if self._now() < self._refused.get(way, 0.0):
                continue
            request = health_pb2.ProbeRequest(
                provider=candidate.provider,
                model=candidate.model,
                credential=call.credential,
                org=call.org,
                call_id=call.call_id,
            )
            # As long as the hold: a probe that nobody reports on ends with it.
            request.lease_duration.seconds = route.hold_seconds
            try:
                result = await self._health.acquire_probe.submit(request, deadline=deadline)
            except ServiceError:
                # Nobody else may grant one; the call goes to a candidate that needs none.
                return None
            if result.granted:
                return Probe(
                    candidate=candidate,
                    breaker_epoch=result.breaker_epoch,
                    org=call.org,
                    call_id=call.call_id,
                    credential=call.credential,
                )
            self._refuse(way)
        return None

    def _refuse(self, way: PartKey) -> None:
        now = self._now()
        if len(self._refused) >= REFUSED_COUNT_MAX:
            self._refused = {each: until for each, until in self._refused.items() if until > now}
        self._refused[way] = now + REFUSED_SECONDS

    def give_back(self, probe: Probe | None) -> None:
        """Frees a probe whose call does not go to its candidate. A lost message costs only time:
        the lease ends by itself.
        """
        if probe is None:
            return
        self._observations.put(
            health_pb2.Observation(
                provider=probe.candidate.provider,
                model=probe.candidate.model,
                credential=probe.credential,
                breaker_epoch=probe.breaker_epoch,
                # Says nothing of the provider, but ends the lease.
                outcome=call_pb2.CALL_OUTCOME_ABORTED,
                org=probe.org,
                call_id=probe.call_id,
            )
        )
