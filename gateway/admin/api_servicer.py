"""The service that tells how the API itself is used."""

from __future__ import annotations

from typing import Any, Final

import grpc

from chassis.checks import Checks
from gateway.api_use_store import ApiUse
from gateway.api_uses import KEPT_DAYS, ROW_COUNT_MAX, ApiUses
from headgate.api.gateway.v1 import api_admin_pb2 as pb
from headgate.api.gateway.v1 import api_admin_pb2_grpc

DAYS_DEFAULT: Final = 7
NAME_LENGTH_MAX: Final = 64

Context = grpc.aio.ServicerContext[Any, Any]


class ApiAdminServicer(api_admin_pb2_grpc.ApiAdminServiceServicer):
    """Serves what was counted."""

    def __init__(self, uses: ApiUses) -> None:
        self._uses = uses

    async def GetApiUsage(
        self, request: pb.GetApiUsageRequest, context: Context
    ) -> pb.GetApiUsageResponse:
        days, actor = _parse(request)
        found = await self._uses.list(days=days, method=request.method, actor=actor)
        return pb.GetApiUsageResponse(
            usages=map(_render, found[:ROW_COUNT_MAX]), truncated=len(found) > ROW_COUNT_MAX
        )


def _parse(request: pb.GetApiUsageRequest) -> tuple[int, str | None]:
    checks = Checks()
    checks.integer("day_count", request.day_count, minimum=0, maximum=KEPT_DAYS)
    checks.text("method", request.method, min_length=0, max_length=NAME_LENGTH_MAX)
    checks.text("actor", request.actor, min_length=0, max_length=NAME_LENGTH_MAX)
    checks.raise_if_any()
    actor = request.actor if request.HasField("actor") else None
    return request.day_count or DAYS_DEFAULT, actor


def _render(use: ApiUse) -> pb.ApiUsage:
    return pb.ApiUsage(
        method=use.method,
        actor=use.actor,
        call_count=use.count.total,
        refused_count=use.count.refused,
        failed_count=use.count.failed,
    )
