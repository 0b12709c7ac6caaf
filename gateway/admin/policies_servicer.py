"""The staff's service about sets of policies; each set goes to the service that keeps it."""

from __future__ import annotations

from typing import Any

import grpc
from google.protobuf.message import Message

from gateway.admin.audit import Audit
from gateway.admin.channels_servicer import HIDDEN
from gateway.admin.policies import StoredSets
from gateway.admin.restating import Restating
from gateway.peers import ACCOUNTING, ADMISSION, HEALTH, Accounting, Admission, Health
from gateway.servicer import principal
from headgate.api.accounting.v1 import policies_pb2
from headgate.api.admission.v1 import admission_pb2
from headgate.api.gateway.v1 import policy_admin_pb2 as pb
from headgate.api.gateway.v1 import policy_admin_pb2_grpc as pb_grpc
from headgate.api.health.v1 import health_pb2

Context = grpc.aio.ServicerContext[Any, Any]


class PolicyAdminServicer(pb_grpc.PolicyAdminServiceServicer):
    """Serves staff, each as far as `access` lets them; each service checks every field."""

    def __init__(
        self,
        *,
        audit: Audit,
        admission: Admission,
        accounting: Accounting,
        health: Health,
        sets: StoredSets,
    ) -> None:
        self._limits = Restating(audit, ADMISSION)
        self._toggles = Restating(audit, HEALTH)
        self._prices = Restating(audit, ACCOUNTING)
        self._admission, self._accounting, self._health = admission, accounting, health
        self._sets = sets

    async def ApplyPrices(
        self, request: pb.ApplyPricesRequest, context: Context
    ) -> pb.ApplyPricesResponse:
        target, method = f"prices/{_count(request)}", self._accounting.policies.ApplyPrices
        kind, answer = policies_pb2.ApplyPricesRequest, pb.ApplyPricesResponse
        shown, trial = _hide(request), request.validate_only
        return await self._prices.change(
            *(target, method, request, kind, answer),
            # A repetition would not get the secrets of new webhooks.
            repeatable=False,
            shown=shown,
            is_trial=trial,
        )

    async def ApplyLimits(
        self, request: pb.ApplyLimitsRequest, context: Context
    ) -> pb.ApplyLimitsResponse:
        target, method = f"limits/{_count(request)}", self._admission.stub.ApplyLimits
        kind, answer = admission_pb2.ApplyLimitsRequest, pb.ApplyLimitsResponse
        trial = request.validate_only
        return await self._limits.change(target, method, request, kind, answer, is_trial=trial)

    async def ApplyToggles(
        self, request: pb.ApplyTogglesRequest, context: Context
    ) -> pb.ApplyTogglesResponse:
        target, method = f"toggles/{_count(request)}", self._health.stub.ApplyToggles
        kind, answer = health_pb2.ApplyTogglesRequest, pb.ApplyTogglesResponse
        trial = request.validate_only
        return await self._toggles.change(target, method, request, kind, answer, is_trial=trial)

    async def ApplyRoutes(
        self, request: pb.ApplyRoutesRequest, context: Context
    ) -> pb.ApplyRoutesResponse:
        return await self._sets.apply(request, principal())


def _count(request: Message) -> int:
    """Returns how many members a set has."""
    return sum(len(value) for field, value in request.ListFields() if field.is_repeated)


def _hide(request: pb.ApplyPricesRequest) -> pb.ApplyPricesRequest:
    """What the audit log keeps: a URL holds secrets."""
    shown = pb.ApplyPricesRequest()
    shown.CopyFrom(request)
    for channel in shown.channels:
        if channel.url:
            channel.url = HIDDEN
    return shown
