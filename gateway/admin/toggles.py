"""Toggles, which are health's: staff set, delete and list them. Health checks the fields."""

from __future__ import annotations

from chassis.checks import Checks
from chassis.errors import NotFound
from gateway.admin.audit import Audit, describe
from gateway.admin.versions import read_expected
from gateway.peers import HEALTH, Health, call, call_once
from gateway.principals import Principal
from headgate.api.gateway.v1 import admin_pb2 as pb
from headgate.api.health.v1 import health_pb2


class StoredToggles:
    """Passes orders on to health, which checks their fields, and lists what it keeps."""

    def __init__(self, health: Health, audit: Audit) -> None:
        self._stub = health.stub
        self._audit = audit

    async def put(self, request: pb.PutToggleRequest, who: Principal) -> pb.PutToggleResponse:
        """Sets a toggle's default, or what it is in one place."""
        _check_name(request.toggle_id)

        async def send(audit_id: str) -> health_pb2.PutToggleResponse:
            wanted = health_pb2.PutToggleRequest(
                toggle_id=request.toggle_id,
                org=request.org,
                operation=request.operation,
                enabled=request.enabled,
                description=request.description,
                reason=request.reason,
                actor=who.actor,
                audit_id=audit_id,
                expected_version=read_expected(request),
            )
            return await call(HEALTH, self._stub.PutToggle, wanted)

        intent = describe(who, "PutToggle", f"toggle/{request.toggle_id}", request)
        done = await self._audit.change_elsewhere(intent, send)
        return pb.PutToggleResponse(toggle=done.toggle)

    async def delete(
        self, request: pb.DeleteToggleRequest, who: Principal
    ) -> pb.DeleteToggleResponse:
        """Deletes what a toggle is in one place, or the whole toggle."""
        _check_name(request.toggle_id)

        async def send(audit_id: str) -> health_pb2.DeleteToggleResponse:
            wanted = health_pb2.DeleteToggleRequest(
                toggle_id=request.toggle_id,
                org=request.org,
                operation=request.operation,
                reason=request.reason,
                actor=who.actor,
                audit_id=audit_id,
                expected_version=read_expected(request),
            )
            return await call_once(HEALTH, self._stub.DeleteToggle, wanted)

        intent = describe(who, "DeleteToggle", f"toggle/{request.toggle_id}", request)
        await self._audit.change_elsewhere(intent, send)
        return pb.DeleteToggleResponse()

    async def get(self, request: pb.GetToggleRequest) -> pb.GetToggleResponse:
        """Returns one toggle with its rules. Raises NotFound."""
        _check_name(request.toggle_id)
        asked = health_pb2.ListTogglesRequest(toggle_id=request.toggle_id)
        found = await call(HEALTH, self._stub.ListToggles, asked)
        if not found.toggles:
            raise NotFound("toggle", request.toggle_id)
        return pb.GetToggleResponse(toggle=found.toggles[0])

    async def list(self) -> pb.ListTogglesResponse:
        """Lists toggles in order of their names."""
        asked = health_pb2.ListTogglesRequest()
        found = await call(HEALTH, self._stub.ListToggles, asked)
        return pb.ListTogglesResponse(toggles=found.toggles)

    async def list_changes(
        self, request: pb.ListToggleChangesRequest
    ) -> pb.ListToggleChangesResponse:
        """Lists changes of toggles, newest first."""
        asked = health_pb2.ListToggleChangesRequest(
            page_size=request.page_size,
            page_token=request.page_token,
            toggle_id=request.toggle_id,
        )
        found = await call(HEALTH, self._stub.ListToggleChanges, asked)
        return pb.ListToggleChangesResponse(
            changes=found.changes, next_page_token=found.next_page_token
        )


def _check_name(toggle_id: str) -> None:
    # What the audit log keeps must be a name; health checks the rest.
    checks = Checks()
    checks.text("toggle_id", toggle_id, max_length=64)
    checks.raise_if_any()
