"""The kill switch, which is health's: asked for twice, the second time with a token."""

from __future__ import annotations

from typing import Final

from chassis.checks import Checks
from gateway.admin.audit import Audit, describe
from gateway.confirmations import LIFETIME_SECONDS, Confirmations
from gateway.domain.calls import Candidate
from gateway.peers import HEALTH, Health, call, call_once
from gateway.principals import Principal
from gateway.routes import Routes
from headgate.api.gateway.v1 import admin_pb2 as pb
from headgate.api.health.v1 import health_pb2

TEXT_LENGTH_MAX: Final = 1_024
DIMENSIONS: Final = ("org", "operation", "provider", "model", "feature", "api_key")
VALUE_LENGTH_MAX: Final = 128
EXPIRE_SECONDS_MAX: Final = 366 * 86_400
TOKEN_LENGTH_MAX: Final = 128
_PLATFORM: Final = "platform"


class Kills:
    """Asks health to stop calls and to let them pass again."""

    def __init__(
        self, health: Health, audit: Audit, routes: Routes, confirmations: Confirmations
    ) -> None:
        self._stub = health.stub
        self._audit = audit
        self._routes = routes
        self._confirmations = confirmations

    def prepare(self, request: pb.PrepareKillRequest, who: Principal) -> pb.PrepareKillResponse:
        """Says what an order would stop, and returns the token that confirms it."""
        order = pb.KillRequest(reason=request.reason, message=request.message, scope=request.scope)
        if request.HasField("expire_duration"):
            order.expire_duration.CopyFrom(request.expire_duration)
        _check_order(order)
        response = pb.PrepareKillResponse(
            confirmation_token=self._confirmations.make(who.actor, _canonical(order)),
            operations=self._operations_in(dict(request.scope)),
        )
        response.token_duration.seconds = LIFETIME_SECONDS
        return response

    async def kill(self, request: pb.KillRequest, who: Principal) -> pb.KillResponse:
        """Stops calls. When it returns, none in scope is admitted any more."""
        _check_order(request)
        order = _without_token(request)
        self._confirmations.check(request.confirmation_token, who.actor, _canonical(order))

        async def send(audit_id: str) -> health_pb2.KillResponse:
            wanted = health_pb2.KillRequest(
                reason=request.reason,
                message=request.message,
                actor=who.actor,
                audit_id=audit_id,
                scope=request.scope,
            )
            if request.HasField("expire_duration"):
                wanted.expire_duration.CopyFrom(request.expire_duration)
            return await call(HEALTH, self._stub.Kill, wanted)

        intent = describe(who, "Kill", f"kill/{_target(dict(order.scope))}", order)
        # Calls go on until it returns: its entry is durable, and health has stored its order.
        done = await self._audit.change_elsewhere(intent, send, is_urgent=True)
        return pb.KillResponse(kill=done.kill)

    async def resume(self, request: pb.ResumeRequest, who: Principal) -> pb.ResumeResponse:
        """Lets calls pass again."""
        checks = Checks()
        checks.text("reason", request.reason, max_length=TEXT_LENGTH_MAX)
        checks.text("kill_id", request.kill_id, min_length=0, max_length=64)
        checks.raise_if_any()

        async def send(audit_id: str) -> health_pb2.ResumeResponse:
            wanted = health_pb2.ResumeRequest(
                reason=request.reason,
                actor=who.actor,
                audit_id=audit_id,
                kill_id=request.kill_id,
            )
            return await call_once(HEALTH, self._stub.Resume, wanted)

        intent = describe(who, "Resume", f"kill/{request.kill_id or _PLATFORM}", request)
        done = await self._audit.change_elsewhere(intent, send)
        return pb.ResumeResponse(kill=done.kill)

    def _operations_in(self, scope: dict[str, str]) -> list[str]:
        """Operations some of whose calls would be stopped."""
        return [
            route.operation
            for route in self._routes.all()
            if scope.get("operation") in (None, route.operation)
            and any(_is_in(candidate, scope) for candidate in route.candidates)
        ]


def _is_in(candidate: Candidate, scope: dict[str, str]) -> bool:
    is_provider = scope.get("provider") in (None, candidate.provider)
    return is_provider and scope.get("model") in (None, candidate.model)


def _check_order(order: pb.KillRequest) -> None:
    checks = Checks()
    checks.text("reason", order.reason, max_length=TEXT_LENGTH_MAX)
    checks.text("message", order.message, min_length=0, max_length=TEXT_LENGTH_MAX)
    for dimension, value in order.scope.items():
        if dimension not in DIMENSIONS:
            checks.violate("scope", f"may have {', '.join(DIMENSIONS)}")
        else:
            checks.text(f"scope[{dimension}]", value, max_length=VALUE_LENGTH_MAX)
    if order.HasField("expire_duration"):
        seconds = order.expire_duration.seconds
        if not 1 <= seconds < EXPIRE_SECONDS_MAX or order.expire_duration.nanos < 0:
            checks.violate("expire_duration", "must be from 1 s to 366 days")
    if len(order.confirmation_token) > TOKEN_LENGTH_MAX:
        checks.violate("confirmation_token", f"has more than {TOKEN_LENGTH_MAX} characters")
    checks.raise_if_any()


def _without_token(request: pb.KillRequest) -> pb.KillRequest:
    order = pb.KillRequest()
    order.CopyFrom(request)
    order.ClearField("confirmation_token")
    return order


def _canonical(order: pb.KillRequest) -> bytes:
    return order.SerializeToString(deterministic=True)


def _target(scope: dict[str, str]) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted(scope.items())) or _PLATFORM
