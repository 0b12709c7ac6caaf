"""The RPC about sets of prices and channels: parse, call the use case, render."""

from __future__ import annotations

from typing import TypeAlias

import grpc

from headgate.api.accounting.v1 import policies_pb2 as pb
from headgate.api.accounting.v1 import policies_pb2_grpc as pb_grpc
from services.accounting.policies import wire
from services.accounting.policies.sets import Policies

Context: TypeAlias = "grpc.aio.ServicerContext[object, object]"


class PolicyServicer(pb_grpc.PolicyServiceServicer):
    """Serves the contract of sets."""

    def __init__(self, policies: Policies) -> None:
        self._policies = policies

    async def ApplyPrices(
        self, request: pb.ApplyPricesRequest, context: Context
    ) -> pb.ApplyPricesResponse:
        wanted = wire.parse_wanted(request)
        version, secrets = await self._policies.apply(
            wanted, audit_id=request.audit_id, keep=not request.validate_only
        )
        return wire.render_applied(version, secrets)
