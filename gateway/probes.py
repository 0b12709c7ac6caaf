"""Probes: the few calls that may pass a breaker which is about to close."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from chassis.errors import ServiceError
from gateway.domain.calls import Call, Candidate
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


class Probes:
    """Leases probes from health and gives back those that no call used."""

    def __init__(self, health: Health, observations: Observations) -> None:
        self._health = health
        self._observations = observations

    async def acquire(
        self, call: Call, candidates: Sequence[Candidate], *, deadline: float | None
    ) -> Probe | None:
        """Asks for one candidate after the other until a probe is granted. None: all refused, or
        health does not answer.
        """
        refused: set[str] = set()
        for candidate in candidates:
            if candidate.provider in refused:
                continue
            request = health_pb2.ProbeRequest(
                provider=candidate.provider, org=call.org, call_id=call.call_id
            )
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
                )
            refused.add(candidate.provider)
        return None

    def give_back(self, probe: Probe | None) -> None:
        """Frees a probe whose call does not go to its candidate. A lost message costs only time:
        the lease ends by itself.
        """
        if probe is None:
            return
        self._observations.put(
            health_pb2.Observation(
                provider=probe.candidate.provider,
                breaker_epoch=probe.breaker_epoch,
                # Says nothing of the provider, but ends the lease.
                outcome=call_pb2.CALL_OUTCOME_ABORTED,
                org=probe.org,
                call_id=probe.call_id,
            )
        )
