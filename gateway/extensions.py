"""Keeps the holds of running calls alive, and tells those that must stop."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from google.protobuf.duration_pb2 import Duration

from chassis.errors import ServiceError
from gateway import asks
from gateway.decisions import CallName
from gateway.domain.calls import Candidate
from gateway.domain.fitness import blocking
from gateway.health_watch import HealthCopy
from gateway.peer_errors import read_call_error
from gateway.peers import Admission, Health
from gateway.routes import Routes
from headgate.api.admission.v1 import admission_pb2
from headgate.api.gateway.v1 import permit_pb2
from headgate.api.health.v1 import health_pb2

_DIMENSIONS = ("team", "user", "session", "ip", "feature")
# For a call whose permit was lost, and with it its operation.
HOLD_SECONDS_DEFAULT = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """A call that takes longer, after it was checked."""

    name: CallName
    # None: as long as the operation's calls may take.
    hold_duration: Duration | None


class Extensions:
    """Extends holds."""

    def __init__(
        self, *, admission: Admission, health: Health, copy: HealthCopy, routes: Routes
    ) -> None:
        self._admission = admission
        self._health = health
        self._copy = copy
        self._routes = routes

    async def extend(
        self, extension: Extension, *, deadline: float | None
    ) -> admission_pb2.ExtensionResult:
        """Returns until when the hold lives, or that the call has ended. Raises ServiceError."""
        name = extension.name
        request = admission_pb2.Extension(
            org=name.org,
            call_id=name.call_id,
            hold_duration=extension.hold_duration or self._default(name.permit),
        )
        if name.permit is not None:
            _write_dimensions(request, name.permit)
        result = await self._admission.extend.submit(request, deadline=deadline)
        if result.WhichOneof("result") == "error":
            raise read_call_error(result.error)
        if name.permit is not None and result.WhichOneof("result") == "expire_time":
            await self._extend_probe(name.permit, request.hold_duration, deadline)
        return result

    async def _extend_probe(
        self, permit: permit_pb2.Permit, duration: Duration, deadline: float | None
    ) -> None:
        """Lets a probe keep its place for as long as its hold. Nothing is asked while the breakers
        on the call's way are closed.
        """
        candidate = Candidate(provider=permit.candidate.provider, model=permit.candidate.model)
        credential = permit.credential or permit.org
        if not blocking(
            candidate, self._copy.breakers.unfit, credential=credential, now=self._copy.wall_time()
        ):
            return
        wish = health_pb2.ProbeRequest(
            provider=candidate.provider,
            model=candidate.model,
            credential=credential,
            org=permit.org,
            call_id=permit.call_id,
            lease_duration=duration,
            extend_only=True,
        )
        # Without an answer the probe's lease ends early: it says nothing then, and blocks nobody.
        with suppress(ServiceError):
            await self._health.acquire_probe.submit(wish, deadline=deadline)

    def _default(self, permit: permit_pb2.Permit | None) -> Duration:
        if permit is None:
            return Duration(seconds=HOLD_SECONDS_DEFAULT)
        try:
            return Duration(seconds=self._routes.find(permit.operation).hold_seconds)
        except ServiceError:
            # The route is gone since; its calls may still end in peace.
            return Duration(seconds=HOLD_SECONDS_DEFAULT)


def _write_dimensions(request: admission_pb2.Extension, permit: permit_pb2.Permit) -> None:
    given = {name: getattr(permit, name) for name in _DIMENSIONS if getattr(permit, name)}
    asks.write_dimensions(
        request.dimensions, given, labels=permit.labels, api_key_id=permit.api_key_id
    )
