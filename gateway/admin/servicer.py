"""The staff's service: each method goes to the module of its noun."""

from __future__ import annotations

from typing import Any

import grpc

from gateway.admin.api_keys import ApiKeys
from gateway.admin.audit import Audit
from gateway.admin.breakers import Breakers
from gateway.admin.kills import Kills
from gateway.admin.limits import Limits
from gateway.admin.prices import StoredPrices
from gateway.admin.reports import Reports
from gateway.admin.routes import StoredRoutes
from gateway.admin.toggles import StoredToggles
from gateway.confirmations import Confirmations
from gateway.key_store import KeyStore
from gateway.peers import Accounting, Admission, Health
from gateway.routes import Routes
from gateway.servicer import principal
from gateway.store import Store
from headgate.api.gateway.v1 import admin_pb2 as pb
from headgate.api.gateway.v1 import admin_pb2_grpc

Context = grpc.aio.ServicerContext[Any, Any]


class AdminServicer(admin_pb2_grpc.AdminServiceServicer):
    """Serves staff, each as far as `access` lets them; every change leaves an audit entry."""

    def __init__(
        self,
        *,
        audit: Audit,
        store: Store,
        keys: KeyStore,
        admission: Admission,
        accounting: Accounting,
        health: Health,
        routes: Routes,
        stored_routes: StoredRoutes,
        confirmations: Confirmations,
    ) -> None:
        self._keys = ApiKeys(keys, audit)
        self._routes = stored_routes
        self._limits = Limits(admission, audit, routes)
        self._prices = StoredPrices(accounting, audit)
        self._breakers = Breakers(health, audit)
        self._toggles = StoredToggles(health, audit)
        self._kills = Kills(health, audit, routes, confirmations)
        self._reports = Reports(store, accounting)

    async def CreateApiKey(
        self, request: pb.CreateApiKeyRequest, context: Context
    ) -> pb.CreateApiKeyResponse:
        return await self._keys.create(request, principal())

    async def RotateApiKey(
        self, request: pb.RotateApiKeyRequest, context: Context
    ) -> pb.RotateApiKeyResponse:
        return await self._keys.rotate(request, principal())

    async def RevokeApiKey(
        self, request: pb.RevokeApiKeyRequest, context: Context
    ) -> pb.RevokeApiKeyResponse:
        return await self._keys.revoke(request, principal())

    async def ListApiKeys(
        self, request: pb.ListApiKeysRequest, context: Context
    ) -> pb.ListApiKeysResponse:
        return await self._keys.list(request)

    async def PutRoute(self, request: pb.PutRouteRequest, context: Context) -> pb.PutRouteResponse:
        return await self._routes.put(request, principal())

    async def DeleteRoute(
        self, request: pb.DeleteRouteRequest, context: Context
    ) -> pb.DeleteRouteResponse:
        return await self._routes.delete(request, principal())

    async def ListRoutes(
        self, request: pb.ListRoutesRequest, context: Context
    ) -> pb.ListRoutesResponse:
        return await self._routes.list(request)

    async def GetRoute(self, request: pb.GetRouteRequest, context: Context) -> pb.GetRouteResponse:
        return await self._routes.get(request)

    async def ListRouteVersions(
        self, request: pb.ListRouteVersionsRequest, context: Context
    ) -> pb.ListRouteVersionsResponse:
        return await self._routes.list_versions(request)

    async def RollbackRoute(
        self, request: pb.RollbackRouteRequest, context: Context
    ) -> pb.RollbackRouteResponse:
        return await self._routes.roll_back(request, principal())

    async def PutLimit(self, request: pb.PutLimitRequest, context: Context) -> pb.PutLimitResponse:
        return await self._limits.put(request, principal())

    async def DeleteLimit(
        self, request: pb.DeleteLimitRequest, context: Context
    ) -> pb.DeleteLimitResponse:
        return await self._limits.delete(request, principal())

    async def GetLimit(self, request: pb.GetLimitRequest, context: Context) -> pb.GetLimitResponse:
        return await self._limits.get(request)

    async def ListLimits(
        self, request: pb.ListLimitsRequest, context: Context
    ) -> pb.ListLimitsResponse:
        return await self._limits.list(request)

    async def ListCounters(
        self, request: pb.ListCountersRequest, context: Context
    ) -> pb.ListCountersResponse:
        return await self._limits.list_counters(request)

    async def PutPrice(self, request: pb.PutPriceRequest, context: Context) -> pb.PutPriceResponse:
        return await self._prices.put(request, principal())

    async def DeletePrice(
        self, request: pb.DeletePriceRequest, context: Context
    ) -> pb.DeletePriceResponse:
        return await self._prices.delete(request, principal())

    async def ListPrices(
        self, request: pb.ListPricesRequest, context: Context
    ) -> pb.ListPricesResponse:
        return await self._prices.list(request)

    async def GetUsage(self, request: pb.GetUsageRequest, context: Context) -> pb.GetUsageResponse:
        return await self._reports.get_usage(request)

    async def PrepareKill(
        self, request: pb.PrepareKillRequest, context: Context
    ) -> pb.PrepareKillResponse:
        return self._kills.prepare(request, principal())

    async def Kill(self, request: pb.KillRequest, context: Context) -> pb.KillResponse:
        return await self._kills.kill(request, principal())

    async def Resume(self, request: pb.ResumeRequest, context: Context) -> pb.ResumeResponse:
        return await self._kills.resume(request, principal())

    async def SetBreaker(
        self, request: pb.SetBreakerRequest, context: Context
    ) -> pb.SetBreakerResponse:
        return await self._breakers.set(request, principal())

    async def ListBreakerMoves(
        self, request: pb.ListBreakerMovesRequest, context: Context
    ) -> pb.ListBreakerMovesResponse:
        return await self._breakers.list_moves(request)

    async def PutToggle(
        self, request: pb.PutToggleRequest, context: Context
    ) -> pb.PutToggleResponse:
        return await self._toggles.put(request, principal())

    async def DeleteToggle(
        self, request: pb.DeleteToggleRequest, context: Context
    ) -> pb.DeleteToggleResponse:
        return await self._toggles.delete(request, principal())

    async def GetToggle(
        self, request: pb.GetToggleRequest, context: Context
    ) -> pb.GetToggleResponse:
        return await self._toggles.get(request)

    async def ListToggles(
        self, request: pb.ListTogglesRequest, context: Context
    ) -> pb.ListTogglesResponse:
        return await self._toggles.list()

    async def ListToggleChanges(
        self, request: pb.ListToggleChangesRequest, context: Context
    ) -> pb.ListToggleChangesResponse:
        return await self._toggles.list_changes(request)

    async def ListAuditEntries(
        self, request: pb.ListAuditEntriesRequest, context: Context
    ) -> pb.ListAuditEntriesResponse:
        return await self._reports.list_audit_entries(request)

    async def ListAuditRecords(
        self, request: pb.ListAuditRecordsRequest, context: Context
    ) -> pb.ListAuditRecordsResponse:
        return await self._reports.list_audit_records(request)
