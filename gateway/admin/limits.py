"""Limits and their counters, which are admission's."""

from __future__ import annotations

from chassis.checks import Checks
from chassis.errors import NotFound
from gateway.admin.audit import Audit, describe
from gateway.admin.versions import read_expected
from gateway.peers import ADMISSION, Admission, call, call_once
from gateway.principals import Principal
from gateway.routes import Routes
from headgate.api.admission.v1 import admission_pb2
from headgate.api.gateway.v1 import admin_pb2 as pb


class Limits:
    """Asks admission for what staff want of limits; admission checks every field."""

    def __init__(self, admission: Admission, audit: Audit, routes: Routes) -> None:
        self._stub = admission.stub
        self._audit = audit
        self._routes = routes

    async def put(self, request: pb.PutLimitRequest, who: Principal) -> pb.PutLimitResponse:
        """Creates or replaces a limit. Its calendar is that of its org, if it names no zone."""
        limit = request.limit
        org = self._routes.find_org(limit.scope["org"]) if "org" in limit.scope else None
        if org is not None and limit.HasField("calendar") and not limit.calendar.time_zone:
            limit.calendar.time_zone = org.time_zone

        async def send(audit_id: str) -> admission_pb2.PutLimitResponse:
            wanted = admission_pb2.PutLimitRequest(
                limit=request.limit,
                audit_id=audit_id,
                expected_version=read_expected(request),
            )
            return await call(ADMISSION, self._stub.PutLimit, wanted)

        intent = describe(who, "PutLimit", f"limit/{request.limit.limit_id}", request)
        done = await self._audit.change_elsewhere(intent, send)
        return pb.PutLimitResponse(limit=done.limit, limits_version=done.limits_version)

    async def delete(
        self, request: pb.DeleteLimitRequest, who: Principal
    ) -> pb.DeleteLimitResponse:
        """Deletes a limit."""

        async def send(audit_id: str) -> admission_pb2.DeleteLimitResponse:
            wanted = admission_pb2.DeleteLimitRequest(
                limit_id=request.limit_id,
                audit_id=audit_id,
                expected_version=read_expected(request),
            )
            return await call_once(ADMISSION, self._stub.DeleteLimit, wanted)

        intent = describe(who, "DeleteLimit", f"limit/{request.limit_id}", request)
        done = await self._audit.change_elsewhere(intent, send)
        return pb.DeleteLimitResponse(limits_version=done.limits_version)

    async def get(self, request: pb.GetLimitRequest) -> pb.GetLimitResponse:
        """Returns one limit. Raises NotFound."""
        checks = Checks()
        checks.text("limit_id", request.limit_id, max_length=64)
        checks.raise_if_any()
        wanted = admission_pb2.ListLimitsRequest(limit_id=request.limit_id, page_size=1)
        found = await call(ADMISSION, self._stub.ListLimits, wanted)
        if not found.limits:
            raise NotFound("limit", request.limit_id)
        return pb.GetLimitResponse(limit=found.limits[0])

    async def list(self, request: pb.ListLimitsRequest) -> pb.ListLimitsResponse:
        """Lists limits in order of their ids."""
        wanted = admission_pb2.ListLimitsRequest(
            page_size=request.page_size, page_token=request.page_token
        )
        page = await call(ADMISSION, self._stub.ListLimits, wanted)
        return pb.ListLimitsResponse(limits=page.limits, next_page_token=page.next_page_token)

    async def list_counters(self, request: pb.ListCountersRequest) -> pb.ListCountersResponse:
        """Lists what limits have used, newest window first."""
        wanted = admission_pb2.ListCountersRequest(
            page_size=request.page_size,
            page_token=request.page_token,
            org=request.org if request.HasField("org") else None,
        )
        page = await call(ADMISSION, self._stub.ListCounters, wanted)
        return pb.ListCountersResponse(
            counters=page.counters, next_page_token=page.next_page_token
        )
