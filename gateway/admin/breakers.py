"""Breakers, which are health's: staff force them and read what became of them."""

from __future__ import annotations

from chassis.checks import Checks
from gateway.admin.audit import Audit, describe
from gateway.peers import HEALTH, Health, call
from gateway.principals import Principal
from headgate.api.gateway.v1 import admin_pb2 as pb
from headgate.api.health.v1 import health_pb2


class Breakers:
    """Passes orders on to health, which checks their fields, and lists its history."""

    def __init__(self, health: Health, audit: Audit) -> None:
        self._stub = health.stub
        self._audit = audit

    async def set(self, request: pb.SetBreakerRequest, who: Principal) -> pb.SetBreakerResponse:
        """Forces a breaker, or gives it back to its state machine."""
        checks = Checks()
        # What the audit log keeps must be a name; health checks the rest.
        checks.text("provider", request.provider, max_length=64)
        checks.raise_if_any()

        async def send(audit_id: str) -> health_pb2.SetBreakerResponse:
            wanted = health_pb2.SetBreakerRequest(
                provider=request.provider,
                model=request.model,
                credential=request.credential,
                override=request.override,
                reason=request.reason,
                actor=who.actor,
                audit_id=audit_id,
            )
            return await call(HEALTH, self._stub.SetBreaker, wanted)

        part = request.model or request.credential
        target = f"breaker/{request.provider}" + (f"/{part}" if part else "")
        done = await self._audit.change_elsewhere(
            describe(who, "SetBreaker", target, request), send
        )
        return pb.SetBreakerResponse(state=done.state, override=done.override)

    async def list_moves(self, request: pb.ListBreakerMovesRequest) -> pb.ListBreakerMovesResponse:
        """Lists changes of breakers' states, newest first."""
        asked = health_pb2.ListBreakerMovesRequest(
            page_size=request.page_size,
            page_token=request.page_token,
            provider=request.provider,
        )
        found = await call(HEALTH, self._stub.ListBreakerMoves, asked)
        return pb.ListBreakerMovesResponse(
            moves=found.moves, next_page_token=found.next_page_token
        )
