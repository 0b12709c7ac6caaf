"""The kill switch, which is health's."""

from __future__ import annotations

from typing import Final

from chassis.checks import Checks
from gateway.admin.audit import Audit, describe
from gateway.peers import HEALTH, Health, call, call_once
from gateway.principals import Principal
from headgate.api.gateway.v1 import admin_pb2 as pb
from headgate.api.health.v1 import health_pb2

TEXT_LENGTH_MAX: Final = 1_024
_TARGET: Final = "kill/platform"


class Kills:
    """Asks health to stop calls and to let them pass again."""

    def __init__(self, health: Health, audit: Audit) -> None:
        self._stub = health.stub
        self._audit = audit

    async def kill(self, request: pb.KillRequest, who: Principal) -> pb.KillResponse:
        """Stops all calls. When it returns, none is admitted any more."""
        checks = Checks()
        checks.text("reason", request.reason, max_length=TEXT_LENGTH_MAX)
        checks.text("message", request.message, min_length=0, max_length=TEXT_LENGTH_MAX)
        checks.raise_if_any()

        async def send(audit_id: str) -> health_pb2.KillResponse:
            wanted = health_pb2.KillRequest(
                reason=request.reason,
                message=request.message,
                actor=who.actor,
                audit_id=audit_id,
            )
            return await call(HEALTH, self._stub.Kill, wanted)

        intent = describe(who, "Kill", _TARGET, request)
        done = await self._audit.change_elsewhere(intent, send)
        return pb.KillResponse(kill=done.kill)

    async def resume(self, request: pb.ResumeRequest, who: Principal) -> pb.ResumeResponse:
        """Lets calls pass again."""
        checks = Checks()
        checks.text("reason", request.reason, max_length=TEXT_LENGTH_MAX)
        checks.raise_if_any()

        async def send(audit_id: str) -> health_pb2.ResumeResponse:
            wanted = health_pb2.ResumeRequest(
                reason=request.reason, actor=who.actor, audit_id=audit_id
            )
            return await call_once(HEALTH, self._stub.Resume, wanted)

        intent = describe(who, "Resume", _TARGET, request)
        done = await self._audit.change_elsewhere(intent, send)
        return pb.ResumeResponse(kill=done.kill)
